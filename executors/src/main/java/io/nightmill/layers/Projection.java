package io.nightmill.layers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Rows to rows of another width: a product, or two in a row. */
public interface Projection {
    int out();

    /** Writes from column {@code column} of {@code out} on. */
    void apply(Tensor out, int column, Tensor x, Step step);

    /** A new tensor {@code [tokens, out]}. */
    default Tensor of(Tensor x, Step step) {
        Tensor y = step.scratch().tensor(x.rows(), out());
        apply(y, 0, x, step);
        return y;
    }

    /** New tensors {@code [tokens, out]} of several projections of the same rows; plain products are one call. */
    static List<Tensor> all(List<? extends Projection> projections, Tensor x, Step step) {
        List<Tensor> out = new ArrayList<>();
        for (Projection projection : projections) {
            out.add(step.scratch().tensor(x.rows(), projection.out()));
        }
        all(projections, out, x, step);
        return out;
    }

    /** The same into tensors that are there. */
    static void all(List<? extends Projection> projections, List<Tensor> out, Tensor x, Step step) {
        List<Product> products = new ArrayList<>();
        for (int i = 0; i < projections.size(); i++) {
            projections.get(i).join(products, out.get(i), 0, x, step);
        }
        multiply(products, x, step);
    }

    /** Like {@link #apply}, but a plain product is left to {@link #multiply}, beside others of the same rows. */
    default void join(List<Product> products, Tensor out, int column, Tensor x, Step step) {
        apply(out, column, x, step);
    }

    /** Computes what {@link #join} has left. */
    static void multiply(List<Product> products, Tensor x, Step step) {
        if (!products.isEmpty()) {
            step.backend().matmul(x, null, products);
        }
    }

    /** {@code up(activation(down(x)))}. */
    record LowRank(Linear down, @Nullable Activation between, Linear up) implements Projection {
        @Override
        public int out() {
            return up.out();
        }

        @Override
        public void apply(Tensor out, int column, Tensor x, Step step) {
            Tensor inner = down.of(x, step);
            if (between != null) {
                step.backend().activate(inner, inner, between);
            }
            up.apply(step.backend(), out, column, inner);
        }
    }

    /** {@code base(x) + adapter(x)}: weights that several layers share, and what one of them adds. */
    record Adapted(Linear base, LowRank adapter) implements Projection {
        @Override
        public int out() {
            return base.out();
        }

        @Override
        public void apply(Tensor out, int column, Tensor x, Step step) {
            Tensor sum = base.of(x, step);
            step.backend().add(sum, sum, adapter.of(x, step), 1);
            step.backend().copyColumns(out, column, sum, 0, out());
        }
    }

    /** {@code factor * base(x)}. */
    record Scaled(Projection base, float factor) implements Projection {
        @Override
        public int out() {
            return base.out();
        }

        @Override
        public void apply(Tensor out, int column, Tensor x, Step step) {
            Tensor y = base.of(x, step);
            step.backend().scale(y, y, factor);
            step.backend().copyColumns(out, column, y, 0, out());
        }
    }
}
