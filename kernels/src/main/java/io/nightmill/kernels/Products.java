package io.nightmill.kernels;

import io.nightmill.tensor.Matrix;

/** In what arithmetic the large products run. */
public enum Products {
    /** Weights as stored, widened exactly; float32. */
    EXACT,
    /** Weights and activations rounded to bfloat16, sums in float32. */
    BF16,
    /**
     * Weights as signed bytes with a factor per output, activations as fifteen-bit integers with a factor per row; sums are
     * integers, so they are exact.
     */
    INT8,
    /**
     * Weights as codes of four bits with a factor per 32 inputs. They meet activations as {@link #INT8}'s bytes, to which they are brought
     * on the way; where the library or its instructions are missing, both are widened to float32.
     */
    INT4;

    /** Smaller weights, such as routers, are never rounded. */
    private static final long LEAST_ROUNDED = 1 << 16;

    /** Whether a weight is large enough to be rounded, by those that round: a property of the weight alone. */
    public static boolean rounds(Matrix w) {
        return (long) w.out() * w.in() >= LEAST_ROUNDED;
    }
}
