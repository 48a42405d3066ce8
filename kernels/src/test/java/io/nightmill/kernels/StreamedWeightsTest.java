package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.kernels.gpu.StreamedWeights.Cost;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** All operations where the device may hold next to no weights, and what is brought to it. */
class StreamedWeightsTest extends BackendSuite {
    private static final int WIDTH = 64;
    private static final int EXPERT = 4 * WIDTH * WIDTH;

    @Override
    Backend backend() {
        return limited(1000);
    }

    private static GpuBackend limited(long bytes) {
        GpuBackend backend = new GpuBackend(OpenClDevice.open(0));
        backend.limitWeights(bytes);
        return backend;
    }

    private static List<Matrix> experts(int count) {
        Random random = new Random(1);
        List<Matrix> experts = new ArrayList<>();
        for (int e = 0; e < count; e++) {
            float[] values = new float[WIDTH * WIDTH];
            for (int i = 0; i < values.length; i++) {
                values[i] = random.nextFloat() - 0.5f;
            }
            experts.add(Matrix.of(WIDTH, WIDTH, values));
        }
        return experts;
    }

    private static Tensor rows(Backend backend, int rows) {
        float[] values = new float[rows * WIDTH];
        for (int i = 0; i < values.length; i++) {
            values[i] = i % 7 - 3;
        }
        Tensor tensor = new Tensor(backend.allocate(values.length), 0, rows, WIDTH);
        backend.upload(tensor, values);
        return tensor;
    }

    private static float[] products(Backend backend, List<Matrix> experts, int... chosen) {
        Tensor out = rows(backend, chosen.length);
        backend.matmul(
                rows(backend, chosen.length),
                routes(backend, experts.size(), chosen),
                List.of(new Product(out, 0, experts, null)));
        float[] values = new float[chosen.length * WIDTH];
        backend.download(out, values);
        return values;
    }

    /** Room for 27 of the 40 would be for those that stay; so all are brought, through a cache of a twelfth of the limit: three places. */
    @Test
    void chosenExpertsComeAndTheLeastRecentlyUsedGoes() {
        List<Matrix> experts = experts(40);
        try (GpuBackend all = new GpuBackend(OpenClDevice.open(0));
                GpuBackend few = limited(3 * 12L * EXPERT)) {
            int[][] steps = {{0, 1, 2}, {2, 1}, {3}, {0}, {1, 3}, {0, 1, 2, 3, 4, 5, 6, 7}};
            long[] misses = {3, 3, 4, 5, 6, 12};
            long met = 0;
            for (int i = 0; i < steps.length; i++) {
                assertThat(products(few, experts, steps[i])).isEqualTo(products(all, experts, steps[i]));
                met += steps[i].length;
                Cost cost = few.streamed();
                assertThat(cost.misses()).isEqualTo(misses[i]);
                assertThat(cost.hits() + cost.misses()).isEqualTo(met);
                assertThat(cost.bytes()).isEqualTo(cost.misses() * EXPERT);
            }
        }
    }

    private static long broughtInThreeSteps(long limit) {
        List<Matrix> layers = experts(5);
        try (GpuBackend all = new GpuBackend(OpenClDevice.open(0));
                GpuBackend some = limited(limit)) {
            for (int step = 0; step < 3; step++) {
                for (Matrix w : layers) {
                    float[][] values = new float[2][2 * WIDTH];
                    GpuBackend[] on = {all, some};
                    for (int i = 0; i < 2; i++) {
                        Tensor out = rows(on[i], 2);
                        on[i].matmul(out, 0, rows(on[i], 2), w, null);
                        on[i].download(out, values[i]);
                    }
                    assertThat(values[1]).isEqualTo(values[0]);
                }
            }
            return some.streamed().bytes() / EXPERT;
        }
    }

    /** Three quarters of the limit hold three layers; the other two lie in the areas that they came through. */
    @Test
    void weightsThatTheAreasHoldAreNotBroughtAgain() {
        assertThat(broughtInThreeSteps(4L * EXPERT)).isEqualTo(2);
    }

    /** After the last layer the first is brought again: that is what came behind it before. */
    @Test
    void whatComesNextIsBroughtAhead() {
        assertThat(broughtInThreeSteps(0)).isEqualTo(3 * 5 + 1);
    }
}
