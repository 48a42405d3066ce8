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
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** What a GPU runs, on PoCL, which else has forms of its own: the Java of the products, and tiles of many rows. */
class GpuFormsTest extends BackendSuite {
    private static final int IN = 700;
    private static final int OUT = 150;
    private static final int ROWS = 200;

    @Override
    Backend backend() {
        return new GpuBackend(OpenClDevice.open(0), Device.Forms.GPU, Products.EXACT);
    }

    private float[] multiply(Backend on, float[] x, Matrix w, float[] bias) {
        int rows = x.length / w.in();
        Tensor out = tensor(on, rows, OUT + 9, new float[rows * (OUT + 9)]);
        Product product = new Product(out, 4, List.of(w), tensor(on, 1, w.out(), bias));
        on.matmul(tensor(on, rows, w.in(), x), null, List.of(product));
        return download(on, out);
    }

    @ParameterizedTest
    @CsvSource({
        "GPU, F32",
        "GPU, F16",
        "GPU, BF16",
        "GPU, Q8_0",
        "GPU, Q4_K",
        "GPU, MXFP4",
        "CPU, F16",
        "CPU, Q8_0",
        "CPU, Q6_K",
        "CPU, IQ4_XS"
    })
    void tilesGiveTheBitsOfSingleRows(Device.Forms forms, Format format) {
        int in = format.ordinal() <= Format.BF16.ordinal() ? IN : 1280;
        try (Backend backend = new GpuBackend(OpenClDevice.open(0), forms, Products.EXACT)) {
            Matrix w = matrix(format, OUT, in);
            float[] x = random(ROWS * in);
            float[] bias = random(OUT);
            float[] all = multiply(backend, x, w, bias);
            float[] expected = multiply(new ReferenceBackend(), x, w, bias);
            for (int i = 0; i < all.length; i++) {
                assertThat(all[i]).isCloseTo(expected[i], within(2e-3f));
            }
            for (int row : new int[] {0, 1, 127, 128, 199}) {
                float[] alone = multiply(backend, Arrays.copyOfRange(x, row * in, (row + 1) * in), w, bias);
                assertThat(Arrays.copyOfRange(all, row * (OUT + 9), (row + 1) * (OUT + 9)))
                        .containsExactly(alone);
            }
            if (forms == Device.Forms.GPU) {
                assertThat(((GpuBackend) backend).kernelTimes())
                        .anyMatch(time -> time.kernel().equals("ProductKernels.productTile"));
            }
        }
    }

    /** Rounded to bfloat16: on PoCL's own kernels, on a GPU's, and on those with matrix instructions, which PoCL is made to imitate. */
    @ParameterizedTest
    @EnumSource(names = {"CPU", "GPU", "MATRIX"})
    void roundedProductsAreThoseOfRoundedValues(Device.Forms forms) {
        for (Format format : List.of(Format.F32, Format.BF16, Format.Q8_0)) {
            int in = format == Format.Q8_0 ? 704 : 699;
            try (GpuBackend backend = new GpuBackend(OpenClDevice.open(0), forms, Products.BF16)) {
                Matrix w = matrix(format, OUT, in);
                float[] x = random(ROWS * in);
                float[] bias = random(OUT);
                float[] expected = multiply(new ReferenceBackend(), rounded(x), rounded(w), bias);
                float[] all = multiply(backend, x, w, bias);
                for (int i = 0; i < all.length; i++) {
                    assertThat(all[i]).isCloseTo(expected[i], within(2e-3f));
                }
                int row = 0;
                for (int count : new int[] {1, 2, 9, 31, 33, 64, 60}) {
                    float[] part = multiply(backend, Arrays.copyOfRange(x, row * in, (row + count) * in), w, bias);
                    assertThat(Arrays.copyOfRange(all, row * (OUT + 9), (row + count) * (OUT + 9)))
                            .containsExactly(part);
                    row += count;
                }
                if (forms == Device.Forms.MATRIX) {
                    assertThat(backend.kernelTimes())
                            .extracting(Device.KernelTime::kernel)
                            .contains("ProductKernels.productMatrixFew", "ProductKernels.productMatrixMany");
                }
            }
        }
    }

    /** Weights of a byte or of four bits, wherever they are unpacked; too small ones and rows of broken blocks stay as they are. */
    @ParameterizedTest
    @CsvSource({
        "CPU, INT8, 704, 150, 0.006", "GPU, INT8, 704, 150, 0.006", "CPU, INT4, 704, 150, 0.09",
        "GPU, INT4, 704, 150, 0.09", "GPU, INT4, 700, 150, 0", "CPU, INT8, 704, 90, 0"
    })
    void weightsAreRoundedInBlocks(Device.Forms forms, Products arithmetic, int in, int outs, double error) {
        try (GpuBackend backend = new GpuBackend(OpenClDevice.open(0), forms, arithmetic)) {
            Matrix w = matrix(Format.F32, outs, in);
            float[] x = random(ROWS * in);
            float[] bias = new float[outs];
            float[] expected = multiply(new ReferenceBackend(), x, w, bias);
            float[] all = multiply(backend, x, w, bias);
            double differences = 0;
            double squares = 0;
            for (int i = 0; i < all.length; i++) {
                differences += (all[i] - expected[i]) * (all[i] - expected[i]);
                squares += expected[i] * expected[i];
            }
            double relative = Math.sqrt(differences / squares);
            assertThat(relative).isBetween(error / 3, Math.max(error, 1e-6));
            float[] alone = multiply(backend, Arrays.copyOfRange(x, 7 * in, 8 * in), w, bias);
            assertThat(Arrays.copyOfRange(all, 7 * (OUT + 9), 8 * (OUT + 9))).containsExactly(alone);
        }
    }

    /** Of few rows and of many, and of an expert without any. */
    @ParameterizedTest
    @CsvSource({
        "CPU, BF16, BF16", "GPU, EXACT, BF16", "GPU, BF16, BF16", "MATRIX, BF16, BF16",
        "CPU, EXACT, MXFP4", "GPU, EXACT, Q4_K", "GPU, INT4, BF16", "CPU, INT8, F32"
    })
    void rowsOfExpertsMeetTheirOwnWeights(Device.Forms forms, Products arithmetic, Format format) {
        int in = arithmetic == Products.BF16 ? IN : 768;
        try (Backend backend = new GpuBackend(OpenClDevice.open(0), forms, arithmetic)) {
            List<Matrix> experts = List.of(matrix(format, OUT, in), matrix(format, OUT, in), matrix(format, OUT, in));
            for (int count : new int[] {30, 250}) {
                int[] choices = new int[count];
                Arrays.fill(choices, 19, count, 2);
                float[] x = random(count * in);
                float[] biases = random(3 * OUT);
                Tensor out = tensor(backend, count, OUT, new float[count * OUT]);
                Product product = new Product(out, 0, experts, tensor(backend, 3, OUT, biases));
                backend.matmul(tensor(backend, count, in, x), routes(backend, 3, choices), List.of(product));
                float[] actual = download(backend, out);
                for (int row = 0; row < count; row += 1 + row / 40 * 12) {
                    int expert = choices[row];
                    float[] alone = multiply(
                            backend,
                            Arrays.copyOfRange(x, row * in, (row + 1) * in),
                            experts.get(expert),
                            Arrays.copyOfRange(biases, expert * OUT, (expert + 1) * OUT));
                    assertThat(Arrays.copyOfRange(actual, row * OUT, (row + 1) * OUT))
                            .containsExactly(Arrays.copyOfRange(alone, 4, 4 + OUT));
                }
            }
        }
    }

    private static float[] rounded(float[] values) {
        float[] rounded = new float[values.length];
        for (int i = 0; i < values.length; i++) {
            rounded[i] = Unpack.bf16(Unpack.toBf16(values[i]));
        }
        return rounded;
    }

    private static Matrix rounded(Matrix w) {
        float[] values = new float[w.out() * w.in()];
        for (int n = 0; n < w.out(); n++) {
            Unpack.row(w, n, values, n * w.in());
        }
        return Matrix.of(w.out(), w.in(), rounded(values));
    }
}
