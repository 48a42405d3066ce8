package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import org.jspecify.annotations.Nullable;

/** Normalization of rows. */
public sealed interface Norm {
    void apply(Backend backend, Tensor out, Tensor x);

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
