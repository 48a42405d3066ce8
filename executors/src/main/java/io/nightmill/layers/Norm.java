package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import org.jspecify.annotations.Nullable;

/** Normalization of rows. */
public sealed interface Norm {
    void apply(Backend backend, Tensor out, Tensor x);

    /** {@code [rows, width]}: groups of {@code width} values are normalized, each with its row of weights. */
    @Nullable
    Tensor weight();

    /** In place; of a row that is wider than the weights each group of values is a row. */
    default void apply(Backend backend, Tensor x) {
        Tensor groups = weight() == null ? x : x.reshape(weight().width());
        apply(backend, groups, groups);
    }

    /** Root mean square (Zhang and Sennrich 2019, arXiv 1910.07467). */
    record Rms(@Nullable Tensor weight, float eps) implements Norm {
        @Override
        public void apply(Backend backend, Tensor out, Tensor x) {
            backend.rmsNorm(out, x, weight, eps);
        }
    }

    record LayerNorm(Tensor weight, @Nullable Tensor bias, float eps) implements Norm {
        @Override
        public void apply(Backend backend, Tensor out, Tensor x) {
            backend.layerNorm(out, x, weight, bias, eps);
        }
    }

    /** @param offset added to the weights: 1 where a checkpoint stores their distance from 1 */
    static Norm rms(Weights weights, String name, int width, float eps, float offset) {
        return new Rms(weights.tensor(name + ".weight", offset, 1, width), eps);
    }
}
