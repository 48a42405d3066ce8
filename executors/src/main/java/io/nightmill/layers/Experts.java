package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a layer's experts.
 *
 * <p>Without a gate, {@code projections} is one list of {@code [inner, hidden]}, and the activation of {@code glu} is all there is.
 *
 * @param projections one list of {@code [inner, hidden]} per expert for gate and for up, or one of {@code [2 inner, hidden]}
 * @param biases {@code [experts, out]} for each projection, or empty
 * @param down {@code [hidden, inner]} per expert
 */
public record Experts(
        List<List<Matrix>> projections, List<Tensor> biases, List<Matrix> down, @Nullable Tensor downBias, Glu glu) {

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
        for (List<Matrix> list : projections) {
            values += list.stream().mapToLong(Experts::values).sum();
        }
        return values + down.stream().mapToLong(Experts::values).sum();
    }

    private static long values(Matrix weight) {
        return (long) weight.out() * weight.in();
    }

    int inner() {
        return down.get(0).in();
    }

    /**
     * @param out {@code [rows, hidden]}
     * @param x {@code [rows, hidden]}, sorted by expert
     */
    void apply(Tensor out, Tensor x, Routes routes, Step step) {
        Backend backend = step.backend();
        int width = projections.stream().mapToInt(list -> list.get(0).out()).sum();
        Tensor both = step.scratch().tensor(x.rows(), width);
        List<Product> products = new ArrayList<>();
        int column = 0;
        for (int i = 0; i < projections.size(); i++) {
            Tensor bias = biases.isEmpty() ? null : biases.get(i);
            products.add(new Product(both, column, projections.get(i), bias));
            column += projections.get(i).get(0).out();
        }
        backend.matmul(x, routes, products);
        Tensor h = step.scratch().tensor(x.rows(), inner());
        if (width == inner()) {
            backend.activate(h, both, glu.activation());
        } else {
            backend.glu(h, both, glu);
        }
        backend.matmul(h, routes, List.of(new Product(out, 0, down, downBias)));
    }
}
