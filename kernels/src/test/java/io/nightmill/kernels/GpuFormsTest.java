package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.gpu.Device;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a GPU runs, on PoCL, which else has forms of its own: the Java of the products, and tiles of many rows. */
class GpuFormsTest extends BackendSuite {
    private static final int IN = 700;
    private static final int OUT = 150;
    private static final int ROWS = 200;

    @Override
    Backend backend() {
        return new GpuBackend(OpenClDevice.open(0), Device.Forms.GPU);
    }

    private float[] multiply(Backend on, float[] x, Matrix w, float[] bias) {
        int rows = x.length / IN;
        Tensor out = tensor(on, rows, OUT + 9, new float[rows * (OUT + 9)]);
        Product product = new Product(out, 4, List.of(w), tensor(on, 1, OUT, bias));
        on.matmul(tensor(on, rows, IN, x), null, List.of(product));
        return download(on, out);
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "BF16"})
    void tilesGiveTheBitsOfSingleRows(Format format) {
        try (Backend backend = backend()) {
            Matrix w = matrix(format, OUT, IN);
            float[] x = random(ROWS * IN);
            float[] bias = random(OUT);
            float[] all = multiply(backend, x, w, bias);
            float[] expected = multiply(new ReferenceBackend(), x, w, bias);
            for (int i = 0; i < all.length; i++) {
                assertThat(all[i]).isCloseTo(expected[i], within(2e-3f));
            }
            for (int row : new int[] {0, 1, 127, 128, 199}) {
                float[] alone = multiply(backend, Arrays.copyOfRange(x, row * IN, (row + 1) * IN), w, bias);
                assertThat(Arrays.copyOfRange(all, row * (OUT + 9), (row + 1) * (OUT + 9)))
                        .containsExactly(alone);
            }
            assertThat(((GpuBackend) backend).kernelTimes())
                    .anyMatch(time -> time.kernel().equals("ProductKernels.productTile"));
        }
    }
}
