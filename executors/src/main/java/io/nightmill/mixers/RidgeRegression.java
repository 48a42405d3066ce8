package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * MesaNet's layer (von Oswald et al. 2025, arXiv 2506.05233): what the best linear map from the keys so far to their values
 * makes of the query. The published kernels approach the solution by conjugate gradients; here it is exact.
 *
 * @param decay {@code [heads, hidden]}: its sigmoid is what is kept of the past
 * @param beta {@code [heads, hidden]}: its sigmoid is a token's weight
 * @param ridge {@code [heads, keyDim]}, positive
 * @param gate of the readout, or null
 */
public record RidgeRegression(
        Input query,
        Input key,
        Input value,
        Linear decay,
        Linear beta,
        Tensor ridge,
        @Nullable Linear gate,
        Readout readout)
        implements SequenceMixer {

    private List<Input> inputs() {
        return List.of(query, key, value);
    }

    @Override
    public List<State.Spec> states() {
        int keys = ridge.rows() * ridge.width();
        int valueDim = value.projection().out() / ridge.rows();
        List<State.Spec> specs = new ArrayList<>(List.of(new State.Spec.Fixed(keys * (ridge.width() + valueDim))));
        specs.addAll(Input.tails(inputs()));
        return specs;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        List<Tensor> made = Input.all(inputs(), x, states.subList(1, states.size()), step);
        Tensor kept = decay.of(x, step);
        backend.activate(kept, kept, Activation.SIGMOID);
        Tensor weight = beta.of(x, step);
        backend.activate(weight, weight, Activation.SIGMOID);
        Tensor y = step.rows(made.get(2).width());
        Update update = Update.delta(made.get(0), made.get(1), made.get(2), kept, weight);
        backend.regress(y, update, ridge, states.get(0), step.batch());
        readout.apply(out, y, gate == null ? null : gate.of(x, step), step);
    }
}
