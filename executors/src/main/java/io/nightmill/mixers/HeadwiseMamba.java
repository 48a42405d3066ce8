package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/**
 * PLaMo-2's mixer (arXiv 2509.04897): Mamba's, which chooses B, C and dt by the convolved values, with Mamba-2's one rate per
 * head.
 *
 * @param gate {@code [inner, hidden]}; so is value
 * @param parameters {@code [2 * stateSize + dtRank, inner]}: B, C, dt
 * @param dt {@code [heads, dtRank]}
 * @param rate {@code [1, heads]}, negative
 * @param skip {@code [heads, 1]}
 */
public record HeadwiseMamba(
        Linear gate,
        Linear value,
        ShortConv conv,
        Linear parameters,
        Norm bNorm,
        Norm cNorm,
        Norm dtNorm,
        Linear dt,
        Tensor rate,
        Tensor skip,
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
        int stateSize = recurrence.keyDim();
        Tensor values = conv.of(value.of(x, step), states.get(0), step);
        Tensor chosen = parameters.of(values, step);
        Tensor key = Mamba2.columns(chosen, 0, stateSize, step);
        Tensor query = Mamba2.columns(chosen, stateSize, stateSize, step);
        Tensor low = Mamba2.columns(chosen, 2 * stateSize, parameters.out() - 2 * stateSize, step);
        bNorm.apply(backend, key);
        cNorm.apply(backend, query);
        dtNorm.apply(backend, low);
        Tensor steps = dt.of(low, step);
        backend.activate(steps, steps, Activation.SOFTPLUS);
        Tensor y = Mamba2.space(query, key, values, steps, rate, skip, null, recurrence, states.get(1), step);
        readout.apply(out, y, gate.of(x, step), step);
    }
}
