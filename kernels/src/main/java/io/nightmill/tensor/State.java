package io.nightmill.tensor;

/**
 * What one layer remembers of every running sequence.
 *
 * @param pool {@code [pages * pageTokens, width]} of a paged state, {@code [slots, width]} of a fixed one
 */
public record State(Spec spec, Tensor pool) {

    /** The only thing that the engine knows about a mixer: how much it keeps, and how that grows. */
    public sealed interface Spec {
        /** float32 values of a row. */
        int width();

        /** A row of {@code width} float32 values per token, in pages that sequences can share. */
        record Paged(int width) implements Spec {}

        /**
         * {@code width} float32 values per sequence, however long it is: a recurrence's matrix, the tail of a convolution.
         * A sequence without past has none yet: operations then begin with what the layer begins with.
         */
        record Fixed(int width) implements Spec {}
    }
}
