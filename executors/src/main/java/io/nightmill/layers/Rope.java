package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Tensor;
import java.util.List;
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

    /** Cosines and sines of the positions of a batch's tokens, {@code [tokens, rotary]}. */
    void fill(Tensor table, Batch batch, Backend backend) {
        List<Batch.Span> spans = batch.spans();
        for (int s = 0; s < spans.size(); ) {
            int current = regime.applyAsInt(spans.get(s).length());
            int next = s + 1;
            while (next < spans.size() && regime.applyAsInt(spans.get(next).length()) == current) {
                next++;
            }
            int to = spans.get(next - 1).first() + spans.get(next - 1).count();
            float factor = (float) scale.applyAsDouble(current);
            backend.rotary(table, batch, spans.get(s).first(), to, frequencies.apply(current), factor, period);
            s = next;
        }
    }
}
