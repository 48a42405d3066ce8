package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * RWKV's feed-forward, which looks back by one token: {@code value(activation(key(x')))}, in RWKV-6 times {@code
 * sigmoid(receptance(x''))}.
 *
 * @param keyMix {@code [1, hidden]}
 */
public record RwkvChannelMix(
        Tensor keyMix,
        Linear key,
        Activation activation,
        Linear value,
        @Nullable Tensor receptanceMix,
        @Nullable Linear receptance)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        return List.of(new State.Spec.Fixed(keyMix.width()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor last = step.rows(x.width());
        backend.shift(last, x, states.get(0), step.batch());
        Tensor mixed = step.rows(x.width());
        backend.mix(mixed, x, last, keyMix);
        Tensor k = key.of(mixed, step);
        backend.activate(k, k, activation);
        value.apply(backend, out, k);
        if (receptance != null && receptanceMix != null) {
            backend.mix(mixed, x, last, receptanceMix);
            Tensor r = receptance.of(mixed, step);
            backend.activate(r, r, Activation.SIGMOID);
            backend.multiply(out, out, r);
        }
    }
}
