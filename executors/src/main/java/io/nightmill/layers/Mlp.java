package io.nightmill.layers;

import io.nightmill.kernels.Activation;
import io.nightmill.tensor.Tensor;

/** {@code down(act(up(x)))}, a feed-forward without a gate. */
public record Mlp(Linear up, Linear down, Activation activation) implements FeedForward {
    @Override
    public void apply(Tensor out, Tensor x, Step step) {
        Tensor inner = up.of(x, step);
        step.backend().activate(inner, inner, activation);
        down.apply(step.backend(), out, inner);
    }
}
