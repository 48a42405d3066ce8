package io.nightmill.mixers;

import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/** A short convolution as a layer of its own. */
public record ConvolutionLayer(ShortConv conv) implements SequenceMixer {
    @Override
    public List<State.Spec> states() {
        return List.of(conv.state());
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        step.backend().copyColumns(out, 0, conv.of(x, states.get(0), step), 0, out.width());
    }
}
