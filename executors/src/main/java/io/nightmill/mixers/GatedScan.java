package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/**
 * HGRN (Qin et al. 2023, arXiv 2311.04823): each column keeps what its forget gate leaves of it and takes in the rest,
 * {@code h = f h + (1 - f) silu(i)}.
 */
public record GatedScan(Linear input, Decay forget, Linear gate, Readout readout) implements SequenceMixer {
    @Override
    public List<State.Spec> states() {
        return List.of(new State.Spec.Fixed(input.out()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor kept = forget.factors(x, step);
        Tensor taken = input.of(x, step);
        backend.activate(taken, taken, Activation.SILU);
        backend.multiply(taken, taken, LinearAttention.complement(kept, step));
        Tensor h = step.rows(input.out());
        backend.scan(h, kept, taken, states.get(0), step.batch());
        readout.apply(out, h, gate.of(x, step), step);
    }
}
