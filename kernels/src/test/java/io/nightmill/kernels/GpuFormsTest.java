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
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a GPU runs, on PoCL, which else has forms of its own: the Java of the products, and tiles of many rows. */
class GpuFormsTest extends BackendSuite {
    private static final int IN = 700;
    private static final int OUT = 150;
    private static final int ROWS = 200;

    private final Random random = new Random(5);

    @Override
    Backend backend() {
        return new GpuBackend(OpenClDevice.open(0), Device.Forms.GPU);
    }

    private Tensor tensor(Backend on, int rows, int width, float[] values) {
        Tensor tensor = new Tensor(on.allocate(values.length + 7L), 7, rows, width);
        on.upload(tensor, values);
        return tensor;
    }

    private float[] random(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private Matrix weights(Format format) {
        ByteBuffer bytes =
                ByteBuffer.allocateDirect((int) (OUT * format.rowBytes(IN))).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < OUT * IN; i++) {
            float value = (float) random.nextGaussian();
            switch (format) {
                case F32 -> bytes.putFloat(4 * i, value);
                case BF16 -> bytes.putShort(2 * i, (short) (Float.floatToRawIntBits(value) >>> 16));
                default -> bytes.putShort(2 * i, (short) (random.nextInt(0x4000) | random.nextInt(2) << 15));
            }
        }
        return Matrix.of(format, OUT, IN, bytes);
    }

    private float[] multiply(Backend on, float[] x, Matrix w, float[] bias) {
        int rows = x.length / IN;
        Tensor out = tensor(on, rows, OUT + 9, new float[rows * (OUT + 9)]);
        Product product = new Product(out, 4, List.of(w), tensor(on, 1, OUT, bias));
        on.matmul(tensor(on, rows, IN, x), null, List.of(product));
        float[] values = new float[rows * (OUT + 9)];
        on.download(out, values);
        return values;
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F16", "BF16"})
    void tilesGiveTheBitsOfSingleRows(Format format) {
        try (Backend backend = backend()) {
            Matrix w = weights(format);
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
