package io.nightmill.layers;

import org.jspecify.annotations.Nullable;

/** {@code x = x + scale * after(layer(before(x)))}. A decoder is a list of branches. */
public record Branch(@Nullable Norm before, Layer layer, @Nullable Norm after, float scale) {
    public static Branch of(Norm before, Layer layer) {
        return new Branch(before, layer, null, 1);
    }
}
