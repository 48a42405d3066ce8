package io.nightmill.tensor;

/**
 * What one layer remembers of every running sequence.
 *
 * @param pool {@code [pages * 16, width]} of a paged state, {@code [slots, width]} of a fixed one; how a page lies in memory is
 *     the backend's
 */
public record State(Spec spec, Tensor pool) {

    /** The only thing that the engine knows about a mixer: how much it keeps, and how that grows. */
    public sealed interface Spec {
        /** Values of a row. */
        int width();

        /** What a page's rows are to attention; a backend may lay each kind out as it reads it. */
        enum Role {
            KEYS,
            VALUES,
            /** Rows that are read as keys and, in their first values, as values (latent attention). */
            BOTH
        }

        /** A row per token, {@code [heads, headWidth]}, in pages that sequences can share. */
        record Paged(Role role, int heads, int headWidth) implements Spec {
            @Override
            public int width() {
                return heads * headWidth;
            }
        }

        /**
         * {@code width} float32 values per sequence, however long it is: a recurrence's matrix, the tail of a convolution.
         * A sequence without past has none yet: operations then begin with what the layer begins with.
         */
        record Fixed(int width) implements Spec {}
    }
}
