package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * State-space duality (Dao and Gu 2024, arXiv 2405.21060): {@code S = exp(dt A) S + B (dt x)^T; y = S^T C + D x}, one decay per
 * head, B and C shared by the heads of a group.
 *
 * @param input {@code [2 * inner + 2 * groups * stateSize + heads, hidden]}: gate, x, B, C, dt
 * @param inputScale {@code [1, its rows]}, factors on its outputs, or null
 * @param conv over x, B and C
 * @param dtBias {@code [1, heads]}
 * @param rate {@code [1, heads]}: A, negative
 * @param skip {@code [heads, 1]}: D
 * @param dtLow bound on dt
 * @param dtHigh bound on dt
 */
public record Mamba2(
        Linear input,
        @Nullable Tensor inputScale,
        ShortConv conv,
        Tensor dtBias,
        Tensor rate,
        Tensor skip,
        float dtLow,
        float dtHigh,
        Recurrence recurrence,
        Readout readout)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        return List.of(conv.state(), new State.Spec.Fixed(recurrence.stateWidth()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int headDim = recurrence.valueDim();
        int inner = recurrence.heads() * headDim;
        int keys = recurrence.keyHeads() * recurrence.keyDim();
        Tensor all = input.of(x, step);
        if (inputScale != null) {
            backend.multiply(all, all, inputScale);
        }
        Tensor gate = columns(all, 0, inner, step);
        Tensor mixed = conv.of(columns(all, inner, inner + 2 * keys, step), states.get(0), step);
        Tensor value = columns(mixed, 0, inner, step);
        Tensor key = columns(mixed, inner, keys, step);
        Tensor query = columns(mixed, inner + keys, keys, step);

        Tensor dt = columns(all, 2 * inner + 2 * keys, recurrence.heads(), step);
        backend.add(dt, dt, dtBias, 1);
        backend.activate(dt, dt, Activation.SOFTPLUS);
        backend.clamp(dt, dtLow, dtHigh);
        Tensor decay = step.rows(recurrence.heads());
        backend.multiply(decay, dt, rate);
        backend.activate(decay, decay, Activation.EXP);
        Tensor skipped = step.rows(inner);
        backend.multiply(skipped.reshape(headDim), value.reshape(headDim), skip);
        backend.multiply(value.reshape(headDim), value.reshape(headDim), dt.reshape(1));

        Tensor y = step.rows(inner);
        backend.recur(y, Update.add(query, key, value, decay), recurrence, states.get(1), step.batch());
        backend.add(y, y, skipped, 1);
        readout.apply(out, y, gate, step);
    }

    static Tensor columns(Tensor from, int first, int count, Step step) {
        Tensor part = step.rows(count);
        step.backend().copyColumns(part, 0, from, first, count);
        return part;
    }
}
