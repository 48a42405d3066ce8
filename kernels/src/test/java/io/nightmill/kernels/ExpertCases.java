package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** Layers of six experts. */
final class ExpertCases {
    private ExpertCases() {}

    static List<Matrix> experts(int out, int in, Random random) {
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

    /** Without a gate and without biases. */
    static ExpertWeights ungated(int hidden, int inner, Random random) {
        return new ExpertWeights(
                List.of(experts(inner, hidden, random)),
                List.of(),
                experts(hidden, inner, random),
                null,
                Glu.of(Activation.SILU));
    }

    static Tensor tensor(Backend on, int rows, int width, Random random) {
        float[] values = new float[rows * width];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return BackendSuite.tensor(on, rows, width, values);
    }

    /**
     * In one operation: a gate beside up, both in one weight, none at all; few tokens, so many that threads share columns, and so many
     * that their activations are made in two parts.
     */
    static void haveTheBitsOfSingleOperations(HostBackend backend, int hidden, int inner, Random random) {
        Glu silu = Glu.of(Activation.SILU);
        List<ExpertWeights> forms = List.of(
                new ExpertWeights(
                        List.of(experts(inner, hidden, random), experts(inner, hidden, random)),
                        List.of(),
                        experts(hidden, inner, random),
                        null,
                        silu),
                new ExpertWeights(
                        List.of(experts(2 * inner, hidden, random)),
                        List.of(tensor(backend, 6, 2 * inner, random)),
                        experts(hidden, inner, random),
                        tensor(backend, 6, hidden, random),
                        new Glu(Activation.SILU, true, 7, 1.702f)),
                ungated(hidden, inner, random));
        for (int tokens : new int[] {20, 600, 4500}) {
            float[] logits = new float[6 * tokens];
            for (int i = 0; i < logits.length; i++) {
                logits[i] = (i % 6 == 1 ? 2 : 0) + (float) random.nextGaussian();
            }
            Routes routes = backend.route(
                    BackendSuite.tensor(backend, tokens, 6, logits),
                    null,
                    Router.plain(6, 2, Router.Scoring.SOFTMAX, true));
            Tensor x = tensor(backend, tokens, hidden, random);
            for (ExpertWeights form : forms) {
                Tensor sorted = tensor(backend, 2 * tokens, hidden, random);
                backend.dispatch(sorted, x, routes);
                Tensor both = tensor(backend, 2 * tokens, form.width(), random);
                backend.matmul(sorted, routes, form.into(both));
                Tensor h = tensor(backend, 2 * tokens, inner, random);
                if (form.hasGate()) {
                    backend.glu(h, both, form.glu());
                } else {
                    backend.activate(h, both, form.glu().activation());
                }
                Tensor results = tensor(backend, 2 * tokens, hidden, random);
                backend.matmul(h, routes, List.of(new Product(results, 0, form.down(), form.downBias())));
                Tensor expected = tensor(backend, tokens, hidden, random);
                backend.combine(expected, results, routes);
                Tensor actual = tensor(backend, tokens, hidden, random);
                assertThat(backend.experts(actual, x, routes, form)).isTrue();
                assertThat(Arrays.mismatch(
                                BackendSuite.download(backend, actual), BackendSuite.download(backend, expected)))
                        .as("first value that differs, of %d tokens, %s", tokens, forms.indexOf(form))
                        .isEqualTo(-1);
            }
        }
    }
}
