package io.nightmill.layers;

import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/** Rows to rows. A {@link SequenceMixer} looks along time and remembers; a {@link FeedForward} sees one row at a time. */
public sealed interface Layer permits SequenceMixer, FeedForward {

    /** What the layer remembers of each sequence. */
    default List<State.Spec> states() {
        return List.of();
    }

    /**
     * @param out {@code [tokens, hidden]}
     * @param x {@code [tokens, hidden]}, left as it is
     * @param states one per spec of {@link #states}, in order
     */
    void apply(Tensor out, Tensor x, List<State> states, Step step);
}
