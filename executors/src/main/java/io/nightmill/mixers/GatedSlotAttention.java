package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Gated slot attention (Zhang et al. 2024, arXiv 2409.07146): a few slots of keys and values, each forgotten by its own gate.
 * Reading the keys gives a score per slot, whose softmax reads the values: two recurrences that share their gates.
 *
 * @param decay of each slot, {@code [tokens, heads * slots]}
 * @param keys of slots as values: {@code [keyDim, slots]} per head, decayed along its values
 * @param values of slots as keys: {@code [slots, valueDim]} per head, decayed along its keys
 */
public record GatedSlotAttention(
        Input query, Input key, Input value, Decay decay, Recurrence keys, Recurrence values, Readout readout)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        List<State.Spec> states = new ArrayList<>(Input.tails(List.of(query, key, value)));
        states.add(new State.Spec.Fixed(keys.stateWidth()));
        states.add(new State.Spec.Fixed(values.stateWidth()));
        return states;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor forget = decay.factors(x, List.of(), step);
        Tensor write = LinearAttention.complement(forget, step);
        List<Tensor> inputs = Input.all(List.of(query, key, value), x, states, step);
        Tensor q = inputs.get(0);
        Tensor k = inputs.get(1);
        Tensor v = inputs.get(2);
        int tails = states.size() - 2;
        Tensor scores = step.rows(forget.width());
        backend.recur(scores, Update.add(q, k, write, forget), keys, states.get(tails), step.batch());
        Tensor slots = scores.reshape(keys.valueDim());
        backend.softmax(slots, slots);
        Tensor y = step.rows(v.width());
        backend.recur(y, Update.add(scores, write, v, forget), values, states.get(tails + 1), step.batch());
        backend.activate(y, y, Activation.SILU);
        readout.apply(out, y, null, step);
    }
}
