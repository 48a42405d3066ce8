package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Projection;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/**
 * RWKV-6 (Peng et al. 2024, arXiv 2404.05892): rows mixed with the row before by amounts that depend on the data, a decay per
 * channel, and a bonus for the token itself.
 *
 * @param mix {@code [1, hidden]}, of the row that the amounts are made from
 * @param mixDown {@code [5 * rank, hidden]}
 * @param receptance with the amount of its own mixture; so are the others
 * @param decay {@code exp(-exp(decay(x)))}
 * @param bonus {@code [1, heads * headDim]}
 */
public record Rwkv6TimeMix(
        Tensor mix,
        Linear mixDown,
        Mixed receptance,
        Mixed decay,
        Mixed key,
        Mixed value,
        Mixed gate,
        Tensor bonus,
        Recurrence recurrence,
        Readout readout)
        implements SequenceMixer {

    /**
     * A projection of {@code x + (last - x) * amount}.
     *
     * @param part its place among the five parts of {@code mixDown}'s output
     * @param amount {@code [hidden, rank]}, with the learned amount as bias
     */
    public record Mixed(int part, Linear amount, Projection projection) {}

    @Override
    public List<State.Spec> states() {
        return List.of(new State.Spec.Fixed(mix.width()), new State.Spec.Fixed(recurrence.stateWidth()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor last = step.rows(x.width());
        backend.shift(last, x, states.get(0), step.batch());
        Tensor mixed = step.rows(x.width());
        backend.mix(mixed, x, last, mix);
        Tensor down = mixDown.of(mixed, step);
        backend.activate(down, down, Activation.TANH);
        Tensor r = of(receptance, x, last, down, step);
        Tensor w = of(decay, x, last, down, step);
        backend.activate(w, w, Activation.EXP);
        backend.scale(w, w, -1);
        backend.activate(w, w, Activation.EXP);
        Tensor k = of(key, x, last, down, step);
        Tensor v = of(value, x, last, down, step);
        Tensor y = step.rows(v.width());
        Update update = new Update(r, k, v, w, null, null, null, bonus);
        backend.recur(y, update, recurrence, states.get(1), step.batch());
        readout.apply(out, y, of(gate, x, last, down, step), step);
    }

    private static Tensor of(Mixed branch, Tensor x, Tensor last, Tensor down, Step step) {
        int rank = down.width() / 5;
        Tensor amount = branch.amount.of(Mamba2.columns(down, branch.part * rank, rank, step), step);
        Tensor mixed = step.rows(x.width());
        step.backend().mix(mixed, x, last, amount);
        return branch.projection.of(mixed, step);
    }
}
