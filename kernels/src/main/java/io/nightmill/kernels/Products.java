package io.nightmill.kernels;

import io.nightmill.tensor.Matrix;

/**
 * In what arithmetic the large products run. Through oneDNN both sides are rounded; where the library or the CPU's instructions for
 * it are missing, only weights are, those that take more memory than what they are rounded to, and meet rows of float32.
 */
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
     * on the way.
     */
    INT4;

    /** Smaller weights, such as routers, are never rounded. */
    private static final long LEAST_ROUNDED = 1 << 16;

    /** Whether a weight is large enough to be rounded, by those that round: a property of the weight alone. */
    public static boolean rounds(Matrix w) {
        return (long) w.out() * w.in() >= LEAST_ROUNDED;
    }
}
