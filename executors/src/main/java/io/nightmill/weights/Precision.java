package io.nightmill.weights;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.util.Arrays;
import java.util.Locale;

/** {@code --dtype}: in what precision weights take part. Sums are in float32 always. */
public enum Precision {
    /** As stored; widened exactly in registers. */
    AUTO,
    /** As stored, every product exact in float32: the mode in which golden fixtures are held. */
    F32,
    /**
     * Weights of 32 bits and of float16 are rounded to bfloat16 when they are loaded; the large dense products round
     * activations too and run on the CPU's bfloat16 instructions through oneDNN, where both are there.
     */
    BF16,
    /** Nothing is computed: weights that would be rearranged in memory are left out, only shapes are checked. */
    SHAPES;

    /** @throws IllegalArgumentException naming the known precisions */
    public static Precision of(String name) {
        return Arrays.stream(values())
                .filter(value ->
                        value != SHAPES && value.name().toLowerCase(Locale.ROOT).equals(name))
                .findFirst()
                .orElseThrow(() ->
                        new IllegalArgumentException("Cannot use dtype '" + name + "', expected auto, f32 or bf16"));
    }

    Matrix apply(Matrix m) {
        boolean rounds = this == BF16 && (m.format() == Format.F32 || m.format() == Format.F16);
        return rounds ? Matrices.bf16(m) : m;
    }
}
