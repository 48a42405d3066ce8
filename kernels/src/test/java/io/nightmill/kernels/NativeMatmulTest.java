package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class NativeMatmulTest {
    private static final int OUT = 700;
    private static final int IN = 333;

    private final Random random = new Random(8);

    private static HostBackend backend(Products products, int threads) {
        HostBackend backend = HostBackend.of(products, threads);
        Assumptions.assumeTrue(backend.name().contains("+onednn"), "oneDNN or its instructions are missing here");
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
    void bfloat16MatchesReference() {
        Matrix w = weights();
        assertThat(NativeMatmul.serves(w)).isTrue();
        float[] x = exact(137 * IN);
        float[] expected = multiply(new ReferenceBackend(), x, 137, w);
        float[] actual = multiply(backend(Products.BF16, 2), x, 137, w);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i]).isCloseTo(expected[i], within(2e-4f));
        }
    }

    /** Weights that bytes hold exactly leave only the rounding of activations to fifteen bits. */
    @Test
    void bytesMatchReference() {
        float[] values = new float[OUT * IN];
        for (int i = 0; i < values.length; i++) {
            values[i] = i % IN == 0 ? 127 / 64f : (random.nextInt(255) - 127) / 64f;
        }
        Matrix w = Matrix.of(OUT, IN, values);
        float[] x = exact(70 * IN);
        float[] expected = multiply(new ReferenceBackend(), x, 70, w);
        float[] actual = multiply(backend(Products.INT8, 2), x, 70, w);
        for (int i = 0; i < expected.length; i++) {
            // 333 products of up to 2, each off by at most half of 4 / 16256.
            assertThat(actual[i]).isCloseTo(expected[i], within(1e-2f));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8"})
    void rowBitsDoNotDependOnRowsThreadsOrPlace(Products products) {
        Matrix w = weights();
        float[] x = exact(90 * IN);
        float[] all = multiply(backend(products, 3), x, 90, w);
        HostBackend one = backend(products, 1);
        int row = 0;
        for (int count : new int[] {1, 2, 3, 5, 9, 14, 1, 17, 33, 1}) {
            float[] part = multiply(one, Arrays.copyOfRange(x, row * IN, (row + count) * IN), count, w);
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
    @EnumSource(names = {"BF16", "INT8"})
    void rowsOfGroupsMeetTheirOwnWeights(Products products) {
        HostBackend backend = backend(products, 2);
        List<Matrix> experts = List.of(weights(), weights(), weights());
        float[] biases = new float[3 * OUT];
        for (int i = 0; i < biases.length; i++) {
            biases[i] = i;
        }
        float[] x = exact(9 * IN);
        Tensor in = new Tensor(backend.allocate(x.length), 0, 9, IN);
        backend.upload(in, x);
        Tensor bias = new Tensor(backend.allocate(biases.length), 0, 3, OUT);
        backend.upload(bias, biases);
        Tensor out = new Tensor(backend.allocate(9L * OUT), 0, 9, OUT);
        Routes routes = BackendSuite.routes(backend, 3, 0, 0, 2, 2, 2, 2, 2, 2, 2);
        backend.matmul(in, routes, List.of(new Product(out, 0, experts, bias)));
        float[] actual = new float[9 * OUT];
        backend.download(out, actual);
        for (int row = 0; row < 9; row++) {
            int expert = row < 2 ? 0 : 2;
            float[] alone = multiply(backend, Arrays.copyOfRange(x, row * IN, (row + 1) * IN), 1, experts.get(expert));
            for (int n = 0; n < OUT; n++) {
                assertThat(actual[row * OUT + n]).isEqualTo(alone[5 + n] + (expert * OUT + n));
            }
        }
    }

    private Tensor tensor(Backend on, int rows, int width) {
        float[] values = new float[rows * width];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return BackendSuite.tensor(on, rows, width, values);
    }

    private List<Matrix> experts(int out, int in) {
        List<Matrix> experts = new ArrayList<>();
        for (int e = 0; e < 6; e++) {
            float[] values = new float[out * in];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian() / 20;
            }
            experts.add(Matrix.of(out, in, values));
        }
        return experts;
    }

    /** Experts in one operation give the bits of the single ones: a gate beside up, both in one weight, none at all. */
    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8"})
    void expertsAtOnceGiveTheBitsOfSingleOperations(Products products) {
        HostBackend backend = backend(products, 2);
        int hidden = 272;
        int inner = 250;
        Glu silu = Glu.of(Activation.SILU);
        List<ExpertWeights> forms = List.of(
                new ExpertWeights(
                        List.of(experts(inner, hidden), experts(inner, hidden)),
                        List.of(),
                        experts(hidden, inner),
                        null,
                        silu),
                new ExpertWeights(
                        List.of(experts(2 * inner, hidden)),
                        List.of(tensor(backend, 6, 2 * inner)),
                        experts(hidden, inner),
                        tensor(backend, 6, hidden),
                        new Glu(Activation.SILU, true, 7, 1.702f)),
                new ExpertWeights(List.of(experts(inner, hidden)), List.of(), experts(hidden, inner), null, silu));
        int[] choices = new int[100];
        for (int i = 0; i < choices.length; i++) {
            choices[i] = i < 70 ? 1 : random.nextInt(6);
        }
        Routes routes = BackendSuite.routes(backend, 6, choices);
        Tensor x = tensor(backend, choices.length, hidden);
        for (ExpertWeights form : forms) {
            Tensor sorted = tensor(backend, choices.length, hidden);
            backend.dispatch(sorted, x, routes);
            Tensor both = tensor(backend, choices.length, form.width());
            backend.matmul(sorted, routes, form.into(both));
            Tensor h = tensor(backend, choices.length, inner);
            if (form.hasGate()) {
                backend.glu(h, both, form.glu());
            } else {
                backend.activate(h, both, form.glu().activation());
            }
            Tensor expected = tensor(backend, choices.length, hidden);
            backend.matmul(h, routes, List.of(new Product(expected, 0, form.down(), form.downBias())));
            Tensor actual = tensor(backend, choices.length, hidden);
            assertThat(backend.experts(actual, x, routes, form)).isTrue();
            assertThat(BackendSuite.download(backend, actual))
                    .containsExactly(BackendSuite.download(backend, expected));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8"})
    void fewSharesOrSmallWeightsAreLeftToSingleOperations(Products products) {
        HostBackend backend = backend(products, 2);
        Glu silu = Glu.of(Activation.SILU);
        ExpertWeights large = new ExpertWeights(List.of(experts(250, 272)), List.of(), experts(272, 250), null, silu);
        ExpertWeights small = new ExpertWeights(List.of(experts(16, 272)), List.of(), experts(272, 16), null, silu);
        Tensor x = tensor(backend, 6, 272);
        Tensor out = tensor(backend, 6, 272);
        assertThat(backend.experts(out, x, BackendSuite.routes(backend, 6, 0, 0, 0, 1, 2, 2), large))
                .isFalse();
        assertThat(backend.experts(out, x, BackendSuite.routes(backend, 6, 0, 1, 2, 3, 4, 5), large))
                .isTrue();
        assertThat(backend.experts(out, x, BackendSuite.routes(backend, 6, 0, 1, 2, 3, 4, 5), small))
                .isFalse();
    }
}
