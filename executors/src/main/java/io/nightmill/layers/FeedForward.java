package io.nightmill.layers;

import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/** A layer that sees one row at a time. */
public non-sealed interface FeedForward extends Layer {
    void apply(Tensor out, Tensor x, Step step);

    @Override
    default void apply(Tensor out, Tensor x, List<State> states, Step step) {
        apply(out, x, step);
    }
}
