package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** {@code y = x w^T + bias}. */
public record Linear(Matrix weight, @Nullable Tensor bias) implements Projection {

    /** Reads {@code name.weight} and, where the checkpoint has it, {@code name.bias}. */
    public static Linear from(Weights weights, String name, int out, int in) {
        Tensor bias = weights.has(name + ".bias") ? weights.vector(name + ".bias", out) : null;
        return new Linear(weights.matrix(name + ".weight", out, in), bias);
    }

    /** The given rows of a projection {@code [out, in]} without bias, copied: for those that interleave their parts. */
    public static Linear rowsOf(Weights weights, String name, int out, int in, int[] rows) {
        return new Linear(weights.matrix(name + ".weight", out, in, rows), null);
    }

    /** Rows {@code first .. first + count} of a fused projection. */
    public Linear rows(int first, int count) {
        Tensor cut = bias == null ? null : new Tensor(bias.buffer(), bias.offset() + first, 1, count);
        return new Linear(weight.rows(first, count), cut);
    }

    @Override
    public int out() {
        return weight.out();
    }

    @Override
    public void join(List<Product> products, Tensor out, int column, Tensor x, Step step) {
        products.add(new Product(out, column, List.of(weight), bias));
    }

    public void apply(Backend backend, Tensor out, Tensor x) {
        backend.matmul(out, 0, x, weight, bias);
    }

    /** Writes from column {@code column} of a wider output on. */
    public void apply(Backend backend, Tensor out, int column, Tensor x) {
        backend.matmul(out, column, x, weight, bias);
    }

    @Override
    public void apply(Tensor out, int column, Tensor x, Step step) {
        apply(step.backend(), out, column, x);
    }
}
