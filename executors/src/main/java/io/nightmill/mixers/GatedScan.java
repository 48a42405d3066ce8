package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * HGRN (Qin et al. 2023, arXiv 2311.04823): each column keeps what its forget gate leaves of it and takes in the rest,
 * {@code h = f h + (1 - f) silu(i)}.
 */
public record GatedScan(Input input, Decay forget, Linear gate, Readout readout) implements SequenceMixer {
    @Override
    public List<State.Spec> states() {
        List<State.Spec> specs = new ArrayList<>(List.of(new State.Spec.Fixed(gate.out())));
        specs.addAll(Input.tails(List.of(input)));
        specs.addAll(forget.tails());
        return specs;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor kept =
                forget.factors(x, LinearAttention.last(states, forget.tails().size()), step);
        Tensor taken = Input.all(List.of(input), x, states.subList(1, states.size()), step)
                .get(0);
        backend.activate(taken, taken, Activation.SILU);
        backend.multiply(taken, taken, LinearAttention.complement(kept, step));
        Tensor h = step.rows(gate.out());
        backend.scan(h, kept, taken, states.get(0), step.batch());
        readout.apply(out, h, gate.of(x, step), step);
    }
}
