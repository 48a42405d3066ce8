package io.nightmill.layers;

import java.util.function.IntFunction;
import java.util.function.IntToDoubleFunction;
import java.util.function.IntUnaryOperator;

/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864).
 *
 * @param rotary values of a head that are rotated, from its first on
 * @param interleaved whether neighbours are rotated together ({@code 2i, 2i + 1}), else halves ({@code i, i + rotary / 2})
 * @param frequencies inverse frequencies {@code [rotary / 2]} of a regime
 * @param regime which frequencies a sequence of so many tokens has. When a growing sequence changes its regime, all its
 *     tokens are computed again: their keys were rotated otherwise
 * @param scale factor on cosines and sines in a regime
 * @param period positions begin anew after so many tokens; 0 is never
 */
public record Rope(
        int rotary,
        boolean interleaved,
        IntFunction<float[]> frequencies,
        IntUnaryOperator regime,
        IntToDoubleFunction scale,
        int period) {
    public Rope {
        if (rotary < 2 || rotary % 2 != 0) {
            throw new IllegalArgumentException(
                    "Cannot rotate %d values of a head: expected an even number".formatted(rotary));
        }
    }

    /** The same frequencies at every length. */
    public static Rope fixed(int rotary, boolean interleaved, float[] frequencies, float scale) {
        return new Rope(rotary, interleaved, regime -> frequencies, length -> 0, regime -> scale, 0);
    }

    public Rope withInterleaved(boolean neighbours) {
        return new Rope(rotary, neighbours, frequencies, regime, scale, period);
    }

    public Rope withPeriod(int tokens) {
        return new Rope(rotary, interleaved, frequencies, regime, scale, tokens);
    }

    /** Cosines and sines of the positions {@code from .. from + count} in a sequence of {@code length} tokens. */
    void write(int from, int count, int length, float[] out, int at) {
        int current = regime.applyAsInt(length);
        float[] inverse = frequencies.apply(current);
        float factor = (float) scale.applyAsDouble(current);
        for (int t = 0; t < count; t++) {
            int row = at + t * rotary;
            int position = period == 0 ? from + t : (from + t) % period;
            for (int i = 0; i < inverse.length; i++) {
                // The reference multiplies in float32.
                float angle = inverse[i] * position;
                out[row + i] = (float) Math.cos(angle) * factor;
                out[row + inverse.length + i] = (float) Math.sin(angle) * factor;
            }
        }
    }
}
