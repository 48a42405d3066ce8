package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * RWKV-7 (Peng et al. 2025, arXiv 2503.14456): a generalized delta rule, which erases along one key and writes along another.
 *
 * @param decay {@code exp(-exp(-1/2) sigmoid(decay(x)))}
 * @param rate the in-context learning rate, a in the paper
 * @param early how much of the first layer's values is mixed in; null in the first layer, which leaves its values for the others
 * @param eraseScale {@code [1, hidden]}, k_k
 * @param keyScale {@code [1, hidden]}, k_a
 * @param unit norm of each head to length 1
 * @param bonus {@code [1, hidden]}, r_k
 * @param norm of each head
 */
public record Rwkv7TimeMix(
        Mixes mixes,
        Linear receptance,
        Linear key,
        Linear value,
        Projection decay,
        Projection rate,
        @Nullable Projection early,
        Projection gate,
        Tensor eraseScale,
        Tensor keyScale,
        Norm unit,
        Tensor bonus,
        Norm norm,
        Recurrence recurrence,
        Linear output)
        implements SequenceMixer {
    private static final float DECAY = (float) -Math.exp(-0.5);

    /** How far each branch mixes a row with the one before, {@code [1, hidden]} each. */
    public record Mixes(Tensor receptance, Tensor decay, Tensor key, Tensor value, Tensor rate, Tensor gate) {}

    @Override
    public List<State.Spec> states() {
        return List.of(new State.Spec.Fixed(key.weight().in()), new State.Spec.Fixed(recurrence.stateWidth()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor last = step.rows(x.width());
        backend.shift(last, x, states.get(0), step.batch());
        Tensor r = mixed(receptance, mixes.receptance, x, last, step);
        Tensor w = mixed(decay, mixes.decay, x, last, step);
        backend.activate(w, w, Activation.SIGMOID);
        backend.scale(w, w, DECAY);
        backend.activate(w, w, Activation.EXP);
        Tensor k = mixed(key, mixes.key, x, last, step);
        Tensor v = values(x, last, step);
        Tensor a = mixed(rate, mixes.rate, x, last, step);
        backend.activate(a, a, Activation.SIGMOID);

        Tensor erase = step.rows(k.width());
        backend.multiply(erase, k, eraseScale);
        unit.apply(backend, erase);
        Tensor probe = step.rows(k.width());
        backend.scale(probe, erase, -1);
        backend.multiply(erase, erase, a);
        backend.multiply(a, a, k);
        backend.mix(k, k, a, keyScale);

        Tensor y = step.rows(v.width());
        Update update = new Update(r, k, v, w, null, probe, erase, null);
        backend.recur(y, update, recurrence, states.get(1), step.batch());
        norm.apply(backend, y);
        addBonus(y, r, k, v, step);
        Tensor g = mixed(gate, mixes.gate, x, last, step);
        backend.multiply(y, y, g);
        output.apply(backend, out, y);
    }

    private static Tensor mixed(Projection projection, Tensor mix, Tensor x, Tensor last, Step step) {
        Tensor mixed = step.rows(x.width());
        step.backend().mix(mixed, x, last, mix);
        return projection.of(mixed, step);
    }

    private Tensor values(Tensor x, Tensor last, Step step) {
        Backend backend = step.backend();
        Tensor v = mixed(value, mixes.value, x, last, step);
        if (early == null) {
            backend.copyColumns(step.carried(), 0, v, 0, v.width());
        } else {
            Tensor share = mixed(early, mixes.value, x, last, step);
            backend.activate(share, share, Activation.SIGMOID);
            backend.mix(v, v, step.carried(), share);
        }
        return v;
    }

    /** {@code y += (r . (k * bonus)) v} per head. */
    private void addBonus(Tensor y, Tensor r, Tensor k, Tensor v, Step step) {
        Backend backend = step.backend();
        int headDim = recurrence.keyDim();
        backend.multiply(k, k, bonus);
        Tensor weight = step.rows(recurrence.heads());
        backend.dotRows(weight.reshape(1), r.reshape(headDim), k.reshape(headDim));
        backend.multiply(v.reshape(headDim), v.reshape(headDim), weight.reshape(1));
        backend.add(y, y, v, 1);
    }
}
