package io.nightmill.mixers;

import io.nightmill.kernels.Backend;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Zamba2's hybrid layer (Glorioso et al. 2024, arXiv 2411.15242): attention and feed-forward whose weights several layers share,
 * on the hidden rows beside the embedded ones, and a Mamba-2 mixer on the sum of hidden rows and their result.
 *
 * @param attention from {@code 2 * hidden} to {@code hidden}
 */
public record SharedBlock(
        Norm attentionNorm,
        SoftmaxAttention attention,
        Norm feedForwardNorm,
        FeedForward feedForward,
        Linear linear,
        Norm mixerNorm,
        SequenceMixer mixer)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        List<State.Spec> specs = new ArrayList<>(attention.states());
        specs.addAll(mixer.states());
        return specs;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int hidden = x.width();
        Tensor both = step.rows(2 * hidden);
        backend.copyColumns(both, 0, x, 0, hidden);
        backend.copyColumns(both, hidden, step.carried(), 0, hidden);
        attentionNorm.apply(backend, both, both);
        int split = attention.states().size();
        Tensor y = step.rows(hidden);
        attention.apply(y, both, states.subList(0, split), step);
        feedForwardNorm.apply(backend, y, y);
        Tensor fed = step.rows(hidden);
        feedForward.apply(fed, y, step);
        linear.apply(backend, y, fed);
        backend.add(y, y, x, 1);
        mixerNorm.apply(backend, y, y);
        mixer.apply(out, y, states.subList(split, states.size()), step);
    }
}
