package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class NativeMatmulTest {
    private static final int OUT = 700;

    private final Random random = new Random(8);
    /** Odd, but for codes of four bits. */
    private int in = 333;

    private static HostBackend backend(Products products, int threads) {
        HostBackend backend = HostBackend.of(products, threads);
        Assumptions.assumeTrue(backend.name().contains("+onednn"), "oneDNN or its instructions are missing here");
        return backend;
    }

    private Matrix weights() {
        ByteBuffer bytes = ByteBuffer.allocateDirect(2 * OUT * in).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < OUT * in; i++) {
            bytes.putShort(2 * i, (short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16));
        }
        return Matrix.of(Format.BF16, OUT, in, bytes);
    }

    /** Values that bfloat16 holds exactly, so that only the order of sums differs from the reference. */
    private float[] exact(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = Float.intBitsToFloat(Float.floatToRawIntBits((float) random.nextGaussian()) & 0xffff0000);
        }
        return values;
    }

    private float[] multiply(Backend backend, float[] x, int rows, Matrix w) {
        Tensor from = new Tensor(backend.allocate(x.length), 0, x.length / in, in);
        backend.upload(from, x);
        Tensor out = new Tensor(backend.allocate(rows * (OUT + 5L)), 0, rows, OUT + 5);
        backend.matmul(out, 5, from.rows(0, rows), w, null);
        float[] values = new float[rows * (OUT + 5)];
        backend.download(out, values);
        return values;
    }

    @Test
    void bfloat16MatchesReference() {
        Matrix w = weights();
        assertThat(NativeMatmul.serves(w)).isTrue();
        float[] x = exact(137 * in);
        float[] expected = multiply(new ReferenceBackend(), x, 137, w);
        float[] actual = multiply(backend(Products.BF16, 2), x, 137, w);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i]).isCloseTo(expected[i], within(2e-4f));
        }
    }

    /** Weights that bytes hold exactly leave only the rounding of activations to fifteen bits. */
    @Test
    void bytesMatchReference() {
        float[] values = new float[OUT * in];
        for (int i = 0; i < values.length; i++) {
            values[i] = i % in == 0 ? 127 / 64f : (random.nextInt(255) - 127) / 64f;
        }
        Matrix w = Matrix.of(OUT, in, values);
        float[] x = exact(70 * in);
        float[] expected = multiply(new ReferenceBackend(), x, 70, w);
        float[] actual = multiply(backend(Products.INT8, 2), x, 70, w);
        for (int i = 0; i < expected.length; i++) {
            // 333 products of up to 2, each off by at most half of 4 / 16256.
            assertThat(actual[i]).isCloseTo(expected[i], within(1e-2f));
        }
    }

    /** What codes stand for is known; besides, activations are rounded to fifteen bits. */
    @Test
    void codesMatchReference() {
        HostBackend backend = backend(Products.INT4, 2);
        in = 352;
        Matrix w = weights();
        float[] values = new float[OUT * in];
        byte[] codes = new byte[32];
        int scale = 0;
        float[] row = new float[in];
        for (int n = 0; n < OUT; n++) {
            Unpack.row(w, n, row, 0);
            float factor = 0;
            for (int from = 0; from < in; from += 32) {
                factor = Math.max(factor, NativeCodes.unit(row, from));
            }
            for (int k = 0; k < in; k++) {
                if (k % 32 == 0) {
                    scale = NativeCodes.round(row, k, factor, codes);
                }
                float step = (scale & 15) * factor;
                values[n * in + k] = NativeCodes.toByte(codes[k % 32], scale) * factor;
                // Half a step, or one and a half where the least squared error is to cut a group's ends off.
                assertThat(values[n * in + k]).isCloseTo(row[k], within(1.5f * step));
            }
        }
        float[] x = exact(70 * in);
        float[] expected = multiply(new ReferenceBackend(), x, 70, Matrix.of(OUT, in, values));
        float[] actual = multiply(backend, x, 70, w);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i]).isCloseTo(expected[i], within(1e-2f));
        }
    }

    /** However wide its neighbours are, a group loses little beside the least that four bits can; one-sided groups lose less. */
    @ParameterizedTest
    @CsvSource({"1, -9, 9, 0.09", "4, -9, 9, 0.1", "1, 0, 9, 0.07", "1, -9, 0, 0.07", "20, -9, 9, 0.6"})
    void aGroupsCodesAreClose(float wider, float least, float most, double share) {
        double left = 0;
        double all = 0;
        byte[] codes = new byte[32];
        for (int i = 0; i < 2000; i++) {
            float[] x = new float[32];
            for (int k = 0; k < 32; k++) {
                float gauss = (float) random.nextGaussian();
                x[k] = gauss < least || gauss > most ? -gauss : gauss;
            }
            float unit = wider * NativeCodes.unit(x, 0);
            int scale = NativeCodes.round(x, 0, unit, codes);
            for (int k = 0; k < 32; k++) {
                int value = (codes[k] - (scale >> 4)) * (scale & 15);
                assertThat(codes[k]).isBetween((byte) 0, (byte) 15);
                assertThat((int) NativeCodes.toByte(codes[k], scale)).isEqualTo(value);
                left += Math.pow(x[k] - value * unit, 2);
                all += Math.pow(x[k], 2);
            }
        }
        assertThat(Math.sqrt(left / all)).isLessThan(share);
    }

    @Test
    void aGroupOfZerosStaysZero() {
        byte[] codes = new byte[32];
        for (float unit : new float[] {0, 1}) {
            int scale = NativeCodes.round(new float[32], 0, unit, codes);
            for (byte code : codes) {
                assertThat(NativeCodes.toByte(code, scale)).isZero();
            }
        }
    }

    @Test
    void vectorsWidenCodesLikeTheirDefinition() {
        for (int groups = 1; groups <= 9; groups++) {
            ByteBuffer packed = NativeMatmul.direct(100 + NativeCodes.blockBytes(groups));
            for (int i = 0; i < packed.capacity(); i++) {
                packed.put(i, (byte) random.nextInt());
            }
            for (int g = 0; g < groups; g++) {
                for (int lane = 0; lane < 16; lane++) {
                    int zero = random.nextInt(16);
                    int most = Math.min(15, Math.min(128 / Math.max(1, zero), 127 / Math.max(1, 15 - zero)));
                    int scale = zero << 4 | random.nextInt(most + 1);
                    packed.put(100 + NativeCodes.scales(g) + 4 * lane + g % 4, (byte) scale);
                }
            }
            int[] lines = new int[3 + 8 * groups];
            for (int i = 0; i < 8 * groups; i++) {
                lines[3 + i] = 8 * groups - 1 - i;
            }
            ByteBuffer expected = ByteBuffer.allocateDirect(64 * 8 * groups);
            ByteBuffer actual = ByteBuffer.allocateDirect(64 * 8 * groups);
            new ScalarLanes().widenCodes(packed, 100, groups, expected, lines, 3);
            Lanes.best().widenCodes(packed, 100, groups, actual, lines, 3);
            assertThat(actual).isEqualTo(expected);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8", "INT4"})
    void rowBitsDoNotDependOnRowsThreadsOrPlace(Products products) {
        in = products == Products.INT4 ? 352 : in;
        Matrix w = weights();
        float[] x = exact(90 * in);
        float[] all = multiply(backend(products, 3), x, 90, w);
        HostBackend one = backend(products, 1);
        int row = 0;
        for (int count : new int[] {1, 2, 3, 5, 9, 14, 1, 17, 33, 1}) {
            float[] part = multiply(one, Arrays.copyOfRange(x, row * in, (row + count) * in), count, w);
            assertThat(Arrays.copyOfRange(all, row * (OUT + 5), (row + count) * (OUT + 5)))
                    .containsExactly(part);
            row += count;
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8"})
    void aShapeWhoseSingleRowAddsOtherwiseIsPadded(Products products) {
        backend(products, 1);
        NativeShape shape = new NativeShape(3072, 1024, products == Products.INT8);
        for (int rows = 1; rows <= NativeShape.ROWS; rows++) {
            assertThat(shape.of(rows).rows()).isGreaterThanOrEqualTo(rows);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8", "INT4"})
    void rowsOfGroupsMeetTheirOwnWeights(Products products) {
        in = products == Products.INT4 ? 352 : in;
        HostBackend backend = backend(products, 2);
        List<Matrix> experts = List.of(weights(), weights(), weights());
        float[] biases = new float[3 * OUT];
        for (int i = 0; i < biases.length; i++) {
            biases[i] = i;
        }
        float[] x = exact(9 * in);
        Tensor from = new Tensor(backend.allocate(x.length), 0, 9, in);
        backend.upload(from, x);
        Tensor bias = new Tensor(backend.allocate(biases.length), 0, 3, OUT);
        backend.upload(bias, biases);
        Tensor out = new Tensor(backend.allocate(9L * OUT), 0, 9, OUT);
        Routes routes = BackendSuite.routes(backend, 3, 0, 0, 2, 2, 2, 2, 2, 2, 2);
        backend.matmul(from, routes, List.of(new Product(out, 0, experts, bias)));
        float[] actual = new float[9 * OUT];
        backend.download(out, actual);
        for (int row = 0; row < 9; row++) {
            int expert = row < 2 ? 0 : 2;
            float[] alone = multiply(backend, Arrays.copyOfRange(x, row * in, (row + 1) * in), 1, experts.get(expert));
            for (int n = 0; n < OUT; n++) {
                assertThat(actual[row * OUT + n]).isEqualTo(alone[5 + n] + (expert * OUT + n));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8", "INT4"})
    void expertsAtOnceGiveTheBitsOfSingleOperations(Products products) {
        int hidden = products == Products.INT4 ? 576 : 560;
        int inner = products == Products.INT4 ? 256 : 250;
        ExpertCases.haveTheBitsOfSingleOperations(backend(products, 2), hidden, inner, random);
    }

    /** Weights that are too small to be rounded are not the library's. */
    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8", "INT4"})
    void smallExpertsMeetPanels(Products products) {
        ExpertCases.haveTheBitsOfSingleOperations(backend(products, 2), 144, 32, random);
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8", "INT4"})
    void fewTasksAreLeftToSingleOperations(Products products) {
        HostBackend backend = backend(products, 2);
        ExpertWeights large = ExpertCases.ungated(560, 250, random);
        ExpertWeights narrow = ExpertCases.ungated(272, 250, random);
        Routes many = BackendSuite.routes(backend, 6, 0, 1, 2, 3, 4, 5);
        Routes few = BackendSuite.routes(backend, 6, 0, 0, 0, 1, 2, 2);
        Tensor x = ExpertCases.tensor(backend, 6, 560, random);
        Tensor out = ExpertCases.tensor(backend, 6, 560, random);
        assertThat(backend.experts(out, x, few, large)).isFalse();
        assertThat(backend.experts(out, x, many, large)).isTrue();
        Tensor some = ExpertCases.tensor(backend, 6, 272, random);
        assertThat(backend.experts(ExpertCases.tensor(backend, 6, 272, random), some, many, narrow))
                .isFalse();
    }
}
