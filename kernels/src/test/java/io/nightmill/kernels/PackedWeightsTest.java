package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PackedWeightsTest {
    private static final int IN = 512;
    private final Random random = new Random(3);

    /** Random bits in blocks whose factors are no infinities. */
    private Matrix matrix(Format format, int out) {
        ByteBuffer bytes =
                ByteBuffer.allocate(Math.toIntExact(out * format.rowBytes(IN))).order(ByteOrder.LITTLE_ENDIAN);
        random.nextBytes(bytes.array());
        Matrix m = Matrix.of(format, out, IN, bytes);
        float[] row = new float[IN];
        for (int n = 0; n < out; n++) {
            while (!finite(m, n, row)) {
                byte[] fresh = new byte[m.rowBytes()];
                random.nextBytes(fresh);
                // Half of all halves are small: 0x3f takes an exponent's top bit, if it is one.
                for (int i = 0; i < fresh.length; i++) {
                    fresh[i] &= 0x3f;
                }
                bytes.put(n * m.rowBytes(), fresh);
            }
        }
        return m;
    }

    private static boolean finite(Matrix m, int n, float[] row) {
        Unpack.row(m, n, row, 0);
        for (float value : row) {
            if (!Float.isFinite(value)) {
                return false;
            }
        }
        return true;
    }

    @ParameterizedTest
    @EnumSource
    void packedWeightsAreTheStoredOnes(Format format) {
        Matrix w = matrix(format, 70);
        PackedWeights weights = new PackedWeights(false);
        try (Workers workers = new Workers(2)) {
            weights.pack(w, workers);
        }
        Panel[] panels = weights.of(w);
        assertThat(panels).hasSize(2);
        float[] expected = new float[IN];
        float[] scalar = new float[Panel.COLUMNS * IN];
        float[] vectors = new float[Panel.COLUMNS * IN];
        for (int p = 0; p < 2; p++) {
            new ScalarLanes().widenPanel(panels[p], scalar);
            VectorLanes.ifWide().orElseThrow().widenPanel(panels[p], vectors);
            for (int column = 0; column < Math.min(Panel.COLUMNS, 70 - p * Panel.COLUMNS); column++) {
                Unpack.row(w, p * Panel.COLUMNS + column, expected, 0);
                for (int k = 0; k < IN; k++) {
                    int at = (column / 16 * IN + k) * 16 + column % 16;
                    String place = "output %d, input %d".formatted(p * Panel.COLUMNS + column, k);
                    // Adding nothing makes one zero of the two.
                    assertThat(scalar[at] + 0f).as(place).isEqualTo(expected[k] + 0f);
                    assertThat(vectors[at] + 0f).as(place).isEqualTo(expected[k] + 0f);
                }
            }
        }
        // Panels do not hold their memory.
        Reference.reachabilityFence(weights);
    }

    /** A row alone and among others is one chain of multiply-adds over the same weights. */
    @ParameterizedTest
    @EnumSource
    void oneRowHasTheBitsOfMany(Format format) {
        Matrix w = matrix(format, 70);
        try (HostBackend backend = new HostBackend(2)) {
            float[] many = multiply(backend, w, 9);
            float[] one = multiply(backend, w, 1);
            for (int n = 0; n < w.out(); n++) {
                assertThat(one[n]).as("output %d", n).isEqualTo(many[n]);
            }
        }
    }

    private static float[] input(int rows) {
        Random random = new Random(5);
        float[] x = new float[rows * IN];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) random.nextGaussian();
        }
        return x;
    }

    private static float[] multiply(HostBackend backend, Matrix w, int rows) {
        Tensor x = new Tensor(backend.allocate((long) rows * IN), 0, rows, IN);
        backend.upload(x, input(rows));
        Tensor out = new Tensor(backend.allocate((long) rows * w.out()), 0, rows, w.out());
        backend.matmul(out, 0, x, w, null);
        float[] values = new float[rows * w.out()];
        backend.download(out, values);
        return values;
    }

    @Test
    void infinitiesOfFloat16AreKept() {
        ByteBuffer bytes = ByteBuffer.allocate(2 * IN).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putShort(6, (short) 0xfc00);
        try (HostBackend backend = new HostBackend(1)) {
            float expected = input(1)[3] > 0 ? Float.NEGATIVE_INFINITY : Float.POSITIVE_INFINITY;
            assertThat(multiply(backend, Matrix.of(Format.F16, 1, IN, bytes), 1))
                    .containsExactly(expected);
        }
    }

    /** Normal weights keep a signal 21 dB above the error, and more than with steps of an eighth of the largest. */
    @Test
    void fourBitsAreAsNearAsFourBitsCanBe() {
        int out = 300;
        float[] values = new float[out * IN];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        Matrix w = Matrix.of(out, IN, values);
        PackedWeights weights = new PackedWeights(true);
        try (Workers workers = new Workers(1)) {
            weights.pack(w, workers);
        }
        double error = 0;
        double plain = 0;
        double signal = 0;
        for (int n = 0; n < out; n++) {
            for (int from = 0; from < IN; from += 32) {
                float largest = 0;
                for (int k = from; k < from + 32; k++) {
                    float v = values[n * IN + k];
                    largest = Math.abs(v) > Math.abs(largest) ? v : largest;
                }
                for (int k = from; k < from + 32; k++) {
                    float v = values[n * IN + k];
                    float step = largest / -8;
                    double rounded = step * Math.max(-8, Math.min(7, Math.rint(v / step)));
                    float packed = weights.of(w)[n / 64].value(n % 64, k);
                    plain += (v - rounded) * (v - rounded);
                    error += (double) (v - packed) * (v - packed);
                    signal += (double) v * v;
                }
            }
        }
        assertThat(10 * Math.log10(signal / error)).isGreaterThan(21.5);
        assertThat(10 * Math.log10(plain / error)).isGreaterThan(0.4);
        try (HostBackend backend = new HostBackend(2, Lanes.best(), Products.INT4)) {
            assertThat(backend.name()).endsWith("+int4");
            float[] y = multiply(backend, w, 5);
            float[] x = input(5);
            for (int i = 0; i < 5; i++) {
                for (int n = 0; n < out; n++) {
                    double sum = 0;
                    for (int k = 0; k < IN; k++) {
                        sum += (double) x[i * IN + k] * weights.of(w)[n / 64].value(n % 64, k);
                    }
                    assertThat((double) y[i * out + n]).isCloseTo(sum, offset(1e-4));
                }
            }
        }
        Reference.reachabilityFence(weights);
    }
}
