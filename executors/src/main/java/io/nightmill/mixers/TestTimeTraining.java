package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.FastWeights;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * TTT-Linear and TTT-MLP (Sun et al. 2024, arXiv 2407.04620).
 *
 * @param key null where queries and keys are two convolutions of one projection
 * @param rate {@code [heads, hidden]}: its sigmoid times {@code rateScale} is a token's learning rate
 * @param rope whose positions begin anew with each mini-batch
 * @param gate its GELU multiplies the normed result; null is none
 */
public record TestTimeTraining(
        Linear query,
        @Nullable Linear key,
        Linear value,
        @Nullable ShortConv queryConv,
        @Nullable ShortConv keyConv,
        Rope rope,
        Linear rate,
        float rateScale,
        FastWeights model,
        Norm norm,
        @Nullable Linear gate,
        Linear output)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        List<State.Spec> specs = new ArrayList<>(List.of(new State.Spec.Fixed(model.stateWidth())));
        if (queryConv != null && keyConv != null) {
            specs.add(queryConv.state());
            specs.add(keyConv.state());
        }
        return specs;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor q = query.of(x, step);
        Tensor k;
        if (queryConv != null && keyConv != null) {
            k = keyConv.of(q, states.get(2), step);
            q = queryConv.of(q, states.get(1), step);
        } else {
            k = key.of(x, step);
        }
        backend.rope(q, step.table(rope), model.headDim(), 0, rope.interleaved());
        backend.rope(k, step.table(rope), model.headDim(), 0, rope.interleaved());
        Tensor rates = rate.of(x, step);
        backend.activate(rates, rates, Activation.SIGMOID);
        backend.scale(rates, rates, rateScale);
        Tensor y = step.rows(q.width());
        backend.trainAndRead(y, q, k, value.of(x, step), rates, model, states.get(0), step.batch());
        norm.apply(backend, y, y);
        if (gate != null) {
            Tensor g = gate.of(x, step);
            backend.activate(g, g, Activation.GELU_TANH);
            backend.multiply(y, y, g);
        }
        output.apply(backend, out, y);
    }
}
