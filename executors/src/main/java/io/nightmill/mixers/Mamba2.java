package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Scratch;
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
 * @param levels {@code [1, heads * levels]}: log-linear Mamba-2 (arXiv 2506.04761), whose input has as many columns more;
 *     their softplus under these factors weighs the state's levels; null is one state
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
        @Nullable Tensor levels,
        float dtLow,
        float dtHigh,
        Recurrence recurrence,
        Readout readout)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        int matrices = recurrence.keyDim() * recurrence.valueDim();
        int width = levels == null ? recurrence.stateWidth() : levels.width() * matrices;
        return List.of(conv.state(), new State.Spec.Fixed(width));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int inner = recurrence.heads() * recurrence.valueDim();
        int keys = recurrence.keyHeads() * recurrence.keyDim();
        int heads = recurrence.heads();
        Tensor gate = step.rows(inner);
        Tensor value = step.rows(inner);
        Tensor key = step.rows(keys);
        Tensor query = step.rows(keys);
        Tensor dt = step.rows(heads);
        Tensor weights = levels == null ? null : step.rows(levels.width());

        Scratch.Mark mark = step.scratch().mark();
        Tensor all = input.of(x, step);
        if (inputScale != null) {
            backend.multiply(all, all, inputScale);
        }
        Tensor mixed = conv.of(columns(all, inner, inner + 2 * keys, step), states.get(0), step);
        backend.copyColumns(gate, 0, all, 0, inner);
        backend.copyColumns(value, 0, mixed, 0, inner);
        backend.copyColumns(key, 0, mixed, inner, keys);
        backend.copyColumns(query, 0, mixed, inner + keys, keys);
        backend.copyColumns(dt, 0, all, 2 * inner + 2 * keys, heads);
        if (weights != null) {
            backend.copyColumns(weights, 0, all, 2 * inner + 2 * keys + heads, levels.width());
        }
        step.scratch().release(mark);

        backend.add(dt, dt, dtBias, 1);
        backend.activate(dt, dt, Activation.SOFTPLUS);
        backend.clamp(dt, dtLow, dtHigh);
        if (weights != null) {
            backend.multiply(weights, weights, levels);
            backend.activate(weights, weights, Activation.SOFTPLUS);
        }
        Tensor y = space(query, key, value, dt, rate, skip, weights, recurrence, states.get(1), step);
        readout.apply(out, y, gate, step);
    }

    /**
     * The state space itself: {@code S = exp(dt rate) S + dt B x^T; y = S^T C + skip x}.
     *
     * @param dt {@code [tokens, heads]}
     * @param weights of the levels of a log-linear state, or null
     */
    static Tensor space(
            Tensor query,
            Tensor key,
            Tensor value,
            Tensor dt,
            Tensor rate,
            Tensor skip,
            @Nullable Tensor weights,
            Recurrence recurrence,
            State state,
            Step step) {
        Backend backend = step.backend();
        int headDim = recurrence.valueDim();
        Tensor decay = step.rows(recurrence.heads());
        backend.multiply(decay, dt, rate);
        backend.activate(decay, decay, Activation.EXP);
        Tensor skipped = step.rows(value.width());
        backend.multiply(skipped.reshape(headDim), value.reshape(headDim), skip);
        backend.multiply(value.reshape(headDim), value.reshape(headDim), dt.reshape(1));
        Tensor y = step.rows(value.width());
        Update update = Update.add(query, key, value, decay);
        if (weights == null) {
            backend.recur(y, update, recurrence, state, step.batch());
        } else {
            backend.recurByLevel(y, update, weights, recurrence, state, step.batch());
        }
        backend.add(y, y, skipped, 1);
        return y;
    }

    static Tensor columns(Tensor from, int first, int count, Step step) {
        Tensor part = step.rows(count);
        step.backend().copyColumns(part, 0, from, first, count);
        return part;
    }
}
