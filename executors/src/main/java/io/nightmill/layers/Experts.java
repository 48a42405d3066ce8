package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.kernels.ExpertWeights;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The experts of a layer. */
public record Experts(ExpertWeights weights) {

    /** See {@link ExpertWeights}. */
    public Experts(
            List<List<Matrix>> projections,
            List<Tensor> biases,
            List<Matrix> down,
            @Nullable Tensor downBias,
            Glu glu) {
        this(new ExpertWeights(projections, biases, down, downBias, glu));
    }

    /** Experts named {@code gate, up, down} (their leaf names), one scope each or stacked in one tensor. */
    public static Experts from(
            Weights weights, int count, int hidden, int inner, Glu glu, String gate, String up, String down) {
        return new Experts(
                List.of(each(weights, gate, count, inner, hidden), each(weights, up, count, inner, hidden)),
                List.of(),
                each(weights, down, count, hidden, inner),
                null,
                glu);
    }

    /** One weight of each expert. */
    public static List<Matrix> each(Weights weights, String leaf, int count, int out, int in) {
        if (!weights.has("0." + leaf + ".weight")) {
            return weights.stack(leaf + ".weight", count, out, in);
        }
        List<Matrix> list = new ArrayList<>();
        for (int e = 0; e < count; e++) {
            list.add(weights.matrix(e + "." + leaf + ".weight", out, in));
        }
        return list;
    }

    /** Values of all experts' weights. */
    long values() {
        long values = 0;
        for (List<Matrix> list : weights.projections()) {
            values += list.stream().mapToLong(Experts::values).sum();
        }
        return values + weights.down().stream().mapToLong(Experts::values).sum();
    }

    private static long values(Matrix weight) {
        return (long) weight.out() * weight.in();
    }

    /**
     * @param out {@code [rows, hidden]}: weighted sums of what the chosen experts make of each row
     * @param x {@code [rows, hidden]}
     */
    void apply(Tensor out, Tensor x, Routes routes, Step step) {
        Backend backend = step.backend();
        if (backend.experts(out, x, routes, weights)) {
            return;
        }
        Scratch.Mark mark = step.scratch().mark();
        int choices = x.rows() * routes.topK();
        Tensor sorted = step.scratch().tensor(choices, x.width());
        backend.dispatch(sorted, x, routes);
        Tensor both = step.scratch().tensor(choices, weights.width());
        backend.matmul(sorted, routes, weights.into(both));
        Tensor h = step.scratch().tensor(choices, weights.inner());
        if (weights.hasGate()) {
            backend.glu(h, both, weights.glu());
        } else {
            backend.activate(h, both, weights.glu().activation());
        }
        Tensor results = step.scratch().tensor(choices, out.width());
        backend.matmul(h, routes, List.of(new Product(results, 0, weights.down(), weights.downBias())));
        backend.combine(out, results, routes);
        step.scratch().release(mark);
    }
}
