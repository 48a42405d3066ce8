package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class NativeMatmulTest {
    private static final int OUT = 700;
    private static final int IN = 333;

    private final Random random = new Random(8);

    private static HostBackend backend(int threads) {
        HostBackend backend = HostBackend.withNativeProducts(threads);
        Assumptions.assumeTrue(
                backend.name().endsWith("+onednn-bf16"), "oneDNN or bfloat16 instructions are missing on this machine");
        return backend;
    }

    private Matrix weights() {
        ByteBuffer bytes = ByteBuffer.allocateDirect(2 * OUT * IN).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < OUT * IN; i++) {
            bytes.putShort(2 * i, (short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16));
        }
        return Matrix.of(Format.BF16, OUT, IN, bytes);
    }

    /** Values that bfloat16 holds exactly, so that only the order of sums differs from the reference. */
    private float[] exact(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = Float.intBitsToFloat(Float.floatToRawIntBits((float) random.nextGaussian()) & 0xffff0000);
        }
        return values;
    }

    private static float[] multiply(Backend backend, float[] x, int rows, Matrix w) {
        Tensor in = new Tensor(backend.allocate(x.length), 0, x.length / IN, IN);
        backend.upload(in, x);
        Tensor out = new Tensor(backend.allocate(rows * (OUT + 5L)), 0, rows, OUT + 5);
        backend.matmul(out, 5, in.rows(0, rows), w, null);
        float[] values = new float[rows * (OUT + 5)];
        backend.download(out, values);
        return values;
    }

    @Test
    void matchesReference() {
        Matrix w = weights();
        assertThat(NativeMatmul.serves(w)).isTrue();
        float[] x = exact(37 * IN);
        float[] expected = multiply(new ReferenceBackend(), x, 37, w);
        float[] actual = multiply(backend(2), x, 37, w);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i]).isCloseTo(expected[i], within(2e-4f));
        }
    }

    @Test
    void rowBitsDoNotDependOnRowsThreadsOrPlace() {
        Matrix w = weights();
        float[] x = exact(37 * IN);
        float[] all = multiply(backend(3), x, 37, w);
        HostBackend one = backend(1);
        for (int row : new int[] {0, 1, 15, 16, 29, 36}) {
            float[] alone = multiply(one, java.util.Arrays.copyOfRange(x, row * IN, (row + 1) * IN), 1, w);
            assertThat(java.util.Arrays.copyOfRange(all, row * (OUT + 5), (row + 1) * (OUT + 5)))
                    .containsExactly(alone);
        }
    }
}
