package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/**
 * The recurrent block of Griffin and RecurrentGemma (De et al. 2024, arXiv 2402.19427): a convolution and the real-gated linear
 * recurrent unit, {@code h = a h + sqrt(1 - a^2) (i x)} with {@code a = exp(rate * sigmoid(r))}.
 *
 * @param inputGate a block per head
 * @param recurrenceGate a block per head
 * @param rate {@code [1, width]}: -8 softplus of the parameter
 */
public record RealGatedLru(
        Linear x,
        Linear y,
        ShortConv conv,
        List<Matrix> inputGate,
        Tensor inputBias,
        List<Matrix> recurrenceGate,
        Tensor recurrenceBias,
        Tensor rate,
        Activation activation,
        Linear output)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        return List.of(conv.state(), new State.Spec.Fixed(rate.width()));
    }

    @Override
    public void apply(Tensor out, Tensor in, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor gate = y.of(in, step);
        backend.activate(gate, gate, activation);
        Tensor mixed = conv.of(x.of(in, step), states.get(0), step);
        Tensor open = gate(mixed, inputGate, inputBias, step);
        Tensor decay = gate(mixed, recurrenceGate, recurrenceBias, step);
        backend.multiply(decay, decay, rate);
        backend.activate(decay, decay, Activation.EXP);
        // The first token enters whole: nothing is kept from before it.
        Tensor started = step.rows(1);
        backend.started(started, step.batch());
        backend.multiply(decay, decay, started);
        Tensor share = step.rows(decay.width());
        backend.activate(share, decay, Activation.COMPLEMENT);
        backend.multiply(mixed, mixed, open);
        backend.multiply(mixed, mixed, share);
        Tensor h = step.rows(rate.width());
        backend.scan(h, decay, mixed, states.get(1), step.batch());
        backend.multiply(h, h, gate);
        output.apply(backend, out, h);
    }

    private static Tensor gate(Tensor x, List<Matrix> blocks, Tensor bias, Step step) {
        Tensor gate = step.rows(x.width());
        step.backend().headMatmul(gate, x, blocks);
        step.backend().add(gate, gate, bias, 1);
        step.backend().activate(gate, gate, Activation.SIGMOID);
        return gate;
    }
}
