package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Step;
import io.nightmill.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * What follows a recurrence: a norm, a gate, in this order or the other, and the output projection.
 *
 * @param norm of heads or groups, as wide as its weights; null is none
 * @param activation of the gate
 */
public record Readout(@Nullable Norm norm, boolean gatesFirst, Activation activation, Linear output) {

    /** @param gate {@code [tokens, width of y]}, changed; null is no gate */
    void apply(Tensor out, Tensor y, @Nullable Tensor gate, Step step) {
        Backend backend = step.backend();
        if (gate != null) {
            backend.activate(gate, gate, activation);
        }
        if (gate != null && gatesFirst) {
            backend.multiply(y, y, gate);
        }
        if (norm != null) {
            norm.apply(backend, y);
        }
        if (gate != null && !gatesFirst) {
            backend.multiply(y, y, gate);
        }
        output.apply(backend, out, y);
    }
}
