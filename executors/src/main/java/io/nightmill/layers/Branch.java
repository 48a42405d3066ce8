package io.nightmill.layers;

import org.jspecify.annotations.Nullable;

/**
 * {@code x = keep * x + scale * after(layer(before(x)))}. A decoder is a list of branches.
 *
 * @param keepsNormed whether what is kept is {@code before(x)}, as in networks that are normalized after the sum
 */
public record Branch(
        @Nullable Norm before, Layer layer, @Nullable Norm after, float scale, float keep, boolean keepsNormed) {
    public static Branch of(@Nullable Norm before, Layer layer) {
        return of(before, layer, null, 1);
    }

    public static Branch of(@Nullable Norm before, Layer layer, @Nullable Norm after, float scale) {
        return new Branch(before, layer, after, scale, 1, false);
    }
}
