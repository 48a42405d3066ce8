package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Scratch;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * State-space duality (Dao and Gu 2024, arXiv 2405.21060): {@code S = exp(dt A) S + B (dt x)^T; y = S^T C + D x}, one decay per
 * head, B and C shared by the heads of a group.
 *
 * @param inputs gate and x {@code [inner, hidden]}, B and C {@code [groups * stateSize, hidden]}, dt {@code [heads, hidden]}, and what
 *     levels are weighed by, if there are any
 * @param inputScales factors {@code [1, rows]} on the outputs of each, or none
 * @param convs over x, B and C
 * @param dtBias {@code [1, heads]}
 * @param rate {@code [1, heads]}: A, negative
 * @param skip {@code [heads, 1]}: D
 * @param levels {@code [1, heads * levels]}: log-linear Mamba-2 (arXiv 2506.04761), which has as many inputs more; their softplus under these factors weighs the state's levels; null is one state
 * @param dtLow bound on dt
 * @param dtHigh bound on dt
 */
public record Mamba2(
        List<Linear> inputs,
        List<Tensor> inputScales,
        List<ShortConv> convs,
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
        List<State.Spec> states =
                new ArrayList<>(convs.stream().map(ShortConv::state).toList());
        states.add(new State.Spec.Fixed(width));
        return states;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int inner = recurrence.heads() * recurrence.valueDim();
        int keys = recurrence.keyHeads() * recurrence.keyDim();
        Tensor gate = step.rows(inner);
        List<Tensor> mixed = List.of(step.rows(inner), step.rows(keys), step.rows(keys));
        Tensor dt = step.rows(recurrence.heads());
        Tensor weights = levels == null ? null : step.rows(levels.width());

        Scratch.Mark mark = step.scratch().mark();
        List<Tensor> unmixed = List.of(step.rows(inner), step.rows(keys), step.rows(keys));
        List<Tensor> projected = new ArrayList<>(List.of(gate));
        projected.addAll(unmixed);
        projected.add(dt);
        if (weights != null) {
            projected.add(weights);
        }
        Projection.all(inputs, projected, x, step);
        for (int i = 0; i < inputScales.size(); i++) {
            backend.multiply(projected.get(i), projected.get(i), inputScales.get(i));
        }
        for (int i = 0; i < convs.size(); i++) {
            convs.get(i).apply(mixed.get(i), unmixed.get(i), states.get(i), step);
        }
        step.scratch().release(mark);
        Tensor value = mixed.get(0);
        Tensor key = mixed.get(1);
        Tensor query = mixed.get(2);

        backend.add(dt, dt, dtBias, 1);
        backend.activate(dt, dt, Activation.SOFTPLUS);
        backend.clamp(dt, dtLow, dtHigh);
        if (weights != null) {
            backend.multiply(weights, weights, levels);
            backend.activate(weights, weights, Activation.SOFTPLUS);
        }
        Tensor y = space(query, key, value, dt, rate, skip, weights, recurrence, states.get(3), step);
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
