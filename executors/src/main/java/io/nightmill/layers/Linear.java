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
        return new Linear(weights.matrix(name + ".weight", out, in), bias(weights, name, out));
    }

    /** {@code name.bias}, or null. */
    public static @Nullable Tensor bias(Weights weights, String name, int out) {
        return weights.has(name + ".bias") ? weights.vector(name + ".bias", out) : null;
    }

    /** The given rows of a projection {@code [out, in]}, copied: for those that interleave their parts. */
    public static Linear rowsOf(Weights weights, String name, int out, int in, int[] rows) {
        return new Linear(weights.matrix(name + ".weight", out, in, rows), bias(weights, name, out, rows));
    }

    /** The given values of {@code name.bias}, or null. */
    public static @Nullable Tensor bias(Weights weights, String name, int out, int[] rows) {
        if (!weights.has(name + ".bias")) {
            return null;
        }
        float[] all = weights.values(name + ".bias", out);
        float[] chosen = new float[rows.length];
        for (int i = 0; i < rows.length; i++) {
            chosen[i] = all[rows[i]];
        }
        return weights.upload(1, rows.length, chosen);
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
