package io.nightmill.mixers;

import io.nightmill.kernels.Backend;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/**
 * LFM2's short convolution between two gates (Liquid AI 2025, arXiv 2511.23404): {@code c * conv(b * x)}.
 *
 * @param input {@code [3 * hidden, hidden]}: b, c, x
 */
public record GatedConvolution(Linear input, ShortConv conv, Linear output) implements SequenceMixer {
    @Override
    public List<State.Spec> states() {
        return List.of(conv.state());
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int width = input.out() / 3;
        Tensor all = input.of(x, step);
        Tensor inner = Mamba2.columns(all, 2 * width, width, step);
        backend.multiply(inner, inner, Mamba2.columns(all, 0, width, step));
        Tensor y = conv.of(inner, states.get(0), step);
        backend.multiply(y, y, Mamba2.columns(all, width, width, step));
        output.apply(backend, out, y);
    }
}
