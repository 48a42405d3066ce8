package io.nightmill.kernels;

import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;

import io.nightmill.kernels.Panel.Layout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/**
 * {@link Panel}s in vectors: a row against four vectors of outputs at a time, each a chain of multiply-adds in the order of the
 * inputs, and panels widened to float32. C2 boxes vectors that two nested loops carry, and those of helpers that it does not inline,
 * which is a matter of chance: hence single loops, written out. Nor does it inline {@link VectorMemory}'s methods where a loop is much
 * larger than the largest here.
 */
final class VectorPanels {
    private static final VectorSpecies<Float> F = Species.FLOATS;
    private static final int L = F.length();
    /** For {@link #tilePairs}, as {@link VectorIntegers} says of its unit. */
    private static final FloatVector ONE = FloatVector.broadcast(F, 1f);

    /** Sign, exponent and fraction of a binary16 where those of a binary32 are, and what makes up for the exponent. */
    private static final int HALF_BITS = 0x8fffe000;

    private static final float HALF = 0x1p112f;
    /** The same of an E4M3. */
    private static final int EIGHTH_BITS = 0x87f00000;

    private static final float EIGHTH = 0x1p120f;

    private VectorPanels() {}

    /** {@code out[j] = sum_k x[k] w[j, k]} for the panel's 64 outputs. */
    static void dots(float[] x, int xo, Panel panel, float[] factors, float[] out, int oo) {
        switch (panel.layout()) {
            case INTEGERS -> VectorIntegers.dots(x, xo, panel, out, oo);
            case SIGNED_NIBBLES -> VectorNibbles.dots(x, xo, panel, factors, out, oo);
            default -> {
                for (int column = 0; column < Panel.COLUMNS; column += 4 * L) {
                    dots(x, xo, panel, column, out, oo + column);
                }
            }
        }
    }

    /** Four vectors of outputs. */
    private static void dots(float[] x, int xo, Panel panel, int column, float[] out, int oo) {
        ByteBuffer w = panel.bytes();
        Object s = panel.segment();
        int k = panel.in();
        int w0 = panel.column(column);
        int w1 = panel.column(column + L);
        int w2 = panel.column(column + 2 * L);
        int w3 = panel.column(column + 3 * L);
        switch (panel.layout()) {
            case FLOATS -> floats(x, xo, w, s, w0, w1, w2, w3, k, out, oo);
            case PAIRS -> pairs(x, xo, w, s, w0, w1, w2, w3, k, out, oo);
            case HALVES -> halves(x, xo, w, s, w0, w1, w2, w3, k, out, oo);
            default -> {
                grouped(x, xo, panel, column, out, oo);
                grouped(x, xo, panel, column + 2 * L, out, oo + 2 * L);
            }
        }
    }

    /** Two vectors of outputs whose inputs have factors by groups. */
    private static void grouped(float[] x, int xo, Panel panel, int column, float[] out, int oo) {
        ByteBuffer w = panel.bytes();
        Object s = panel.segment();
        int w0 = panel.column(column);
        int w1 = panel.column(column + L);
        int f = panel.factors() + 4 * column;
        int b = panel.offsetsAt() + 4 * column;
        float times = panel.offsetFactor();
        int words = panel.in() / panel.layout().perWord;
        int shift = Integer.numberOfTrailingZeros(panel.group() / panel.layout().perWord);
        switch (panel.layout()) {
            case EIGHTHS -> eighths(x, xo, w, s, w0, w1, f, shift, words, out, oo);
            case BYTES -> bytes(x, xo, w, s, w0, w1, f, b, times, shift, words, out, oo);
            case NIBBLES -> nibbles(x, xo, w, s, w0, w1, f, b, times, shift, words, out, oo);
            default -> throw new IllegalStateException(panel.layout() + " has no groups");
        }
    }

    /** As {@link Lanes#widenBlocks}. */
    static void widen(Panel panel, int first, float[] factors, float[] out, int oo) {
        ByteBuffer w = panel.bytes();
        Object s = panel.segment();
        int words = panel.in() / panel.layout().perWord;
        int from = panel.column(16 * first);
        switch (panel.layout()) {
            case FLOATS -> panel.bytes()
                    .slice(from, 64 * words)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .asFloatBuffer()
                    .get(out, oo, 16 * words);
            case PAIRS -> widenPairs(w, s, from, words, out, oo);
            case HALVES -> widenHalves(w, s, from, words, out, oo);
            case INTEGERS -> VectorIntegers.widen(panel, first, out, oo);
            case SIGNED_NIBBLES -> VectorNibbles.widen(panel, first, factors, out, oo);
            case EIGHTHS, BYTES, NIBBLES -> {
                for (int column = 16 * first; column < 16 * first + 16; column += L) {
                    widenGroups(panel, column, out, oo + column % 16);
                }
            }
        }
    }

    /** A vector of outputs whose inputs have factors by groups. */
    private static void widenGroups(Panel panel, int column, float[] out, int oo) {
        ByteBuffer w = panel.bytes();
        Object s = panel.segment();
        int words = panel.in() / panel.layout().perWord;
        int perGroup = panel.group() / panel.layout().perWord;
        int from = panel.column(column);
        int f = panel.factors() + 4 * column;
        int b = panel.offsetsAt() + 4 * column;
        float times = panel.offsetFactor();
        if (panel.layout() == Layout.NIBBLES) {
            widenNibbles(w, s, from, Integer.numberOfTrailingZeros(perGroup), words, f, b, times, out, oo);
            return;
        }
        for (int g = 0; g < words / perGroup; g++) {
            int at = from + 64 * g * perGroup;
            int to = oo + 16 * g * panel.group();
            int group = 256 * g;
            switch (panel.layout()) {
                case EIGHTHS -> widenEighths(w, s, at, perGroup, f + group, out, to);
                case BYTES -> widenBytes(w, s, at, perGroup, f + group, b + group, times, out, to);
                default -> throw new IllegalStateException(panel.layout() + " has no groups");
            }
        }
    }

    static FloatVector even(IntVector pairs) {
        return pairs.lanewise(LSHL, 16).reinterpretAsFloats();
    }

    static FloatVector odd(IntVector pairs) {
        return pairs.lanewise(AND, 0xffff0000).reinterpretAsFloats();
    }

    private static void floats(
            float[] x,
            int xo,
            ByteBuffer w,
            @Nullable Object s,
            int w0,
            int w1,
            int w2,
            int w3,
            int k,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        for (int d = 0; d < k; d++) {
            FloatVector p = FloatVector.broadcast(F, x[xo + d]);
            a0 = p.fma(VectorMemory.floats(w, s, w0 + 64 * d), a0);
            a1 = p.fma(VectorMemory.floats(w, s, w1 + 64 * d), a1);
            a2 = p.fma(VectorMemory.floats(w, s, w2 + 64 * d), a2);
            a3 = p.fma(VectorMemory.floats(w, s, w3 + 64 * d), a3);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
    }

    private static void pairs(
            float[] x,
            int xo,
            ByteBuffer w,
            @Nullable Object s,
            int w0,
            int w1,
            int w2,
            int w3,
            int k,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        for (int d = 0; d < k; d += 2) {
            FloatVector p = FloatVector.broadcast(F, x[xo + d]);
            FloatVector q = FloatVector.broadcast(F, x[xo + d + 1]);
            IntVector v0 = VectorMemory.ints(w, s, w0 + 32 * d);
            IntVector v1 = VectorMemory.ints(w, s, w1 + 32 * d);
            IntVector v2 = VectorMemory.ints(w, s, w2 + 32 * d);
            IntVector v3 = VectorMemory.ints(w, s, w3 + 32 * d);
            a0 = q.fma(odd(v0), p.fma(even(v0), a0));
            a1 = q.fma(odd(v1), p.fma(even(v1), a1));
            a2 = q.fma(odd(v2), p.fma(even(v2), a2));
            a3 = q.fma(odd(v3), p.fma(even(v3), a3));
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
    }

    private static void halves(
            float[] x,
            int xo,
            ByteBuffer w,
            @Nullable Object s,
            int w0,
            int w1,
            int w2,
            int w3,
            int k,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        for (int d = 0; d < k; d += 2) {
            FloatVector p = FloatVector.broadcast(F, x[xo + d]);
            FloatVector q = FloatVector.broadcast(F, x[xo + d + 1]);
            IntVector v0 = VectorMemory.ints(w, s, w0 + 32 * d);
            IntVector v1 = VectorMemory.ints(w, s, w1 + 32 * d);
            IntVector v2 = VectorMemory.ints(w, s, w2 + 32 * d);
            IntVector v3 = VectorMemory.ints(w, s, w3 + 32 * d);
            FloatVector h0 = v0.lanewise(LSHL, 16)
                    .lanewise(ASHR, 3)
                    .lanewise(AND, HALF_BITS)
                    .reinterpretAsFloats();
            a0 = p.fma(h0.mul(HALF), a0);
            h0 = v0.lanewise(ASHR, 3).lanewise(AND, HALF_BITS).reinterpretAsFloats();
            a0 = q.fma(h0.mul(HALF), a0);
            FloatVector h1 = v1.lanewise(LSHL, 16)
                    .lanewise(ASHR, 3)
                    .lanewise(AND, HALF_BITS)
                    .reinterpretAsFloats();
            a1 = p.fma(h1.mul(HALF), a1);
            h1 = v1.lanewise(ASHR, 3).lanewise(AND, HALF_BITS).reinterpretAsFloats();
            a1 = q.fma(h1.mul(HALF), a1);
            FloatVector h2 = v2.lanewise(LSHL, 16)
                    .lanewise(ASHR, 3)
                    .lanewise(AND, HALF_BITS)
                    .reinterpretAsFloats();
            a2 = p.fma(h2.mul(HALF), a2);
            h2 = v2.lanewise(ASHR, 3).lanewise(AND, HALF_BITS).reinterpretAsFloats();
            a2 = q.fma(h2.mul(HALF), a2);
            FloatVector h3 = v3.lanewise(LSHL, 16)
                    .lanewise(ASHR, 3)
                    .lanewise(AND, HALF_BITS)
                    .reinterpretAsFloats();
            a3 = p.fma(h3.mul(HALF), a3);
            h3 = v3.lanewise(ASHR, 3).lanewise(AND, HALF_BITS).reinterpretAsFloats();
            a3 = q.fma(h3.mul(HALF), a3);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
    }

    private static void bytes(
            float[] x,
            int xo,
            ByteBuffer w,
            @Nullable Object s,
            int w0,
            int w1,
            int f,
            int b,
            float times,
            int shift,
            int words,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z;
        for (int i = 0; i < words; i++) {
            int group = 256 * (i >> shift);
            FloatVector f0 = VectorMemory.floats(w, s, f + group);
            FloatVector f1 = VectorMemory.floats(w, s, f + group + 4 * L);
            FloatVector b0 = VectorMemory.floats(w, s, b + group).mul(times);
            FloatVector b1 = VectorMemory.floats(w, s, b + group + 4 * L).mul(times);
            IntVector v0 = VectorMemory.ints(w, s, w0 + 64 * i);
            IntVector v1 = VectorMemory.ints(w, s, w1 + 64 * i);
            FloatVector p = FloatVector.broadcast(F, x[xo + 4 * i]);
            IntVector c = v0.lanewise(LSHL, 24).lanewise(ASHR, 24);
            a0 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f0, b0), a0);
            c = v1.lanewise(LSHL, 24).lanewise(ASHR, 24);
            a1 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f1, b1), a1);
            p = FloatVector.broadcast(F, x[xo + 4 * i + 1]);
            c = v0.lanewise(LSHL, 16).lanewise(ASHR, 24);
            a0 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f0, b0), a0);
            c = v1.lanewise(LSHL, 16).lanewise(ASHR, 24);
            a1 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f1, b1), a1);
            p = FloatVector.broadcast(F, x[xo + 4 * i + 2]);
            c = v0.lanewise(LSHL, 8).lanewise(ASHR, 24);
            a0 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f0, b0), a0);
            c = v1.lanewise(LSHL, 8).lanewise(ASHR, 24);
            a1 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f1, b1), a1);
            p = FloatVector.broadcast(F, x[xo + 4 * i + 3]);
            c = v0.lanewise(ASHR, 24);
            a0 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f0, b0), a0);
            c = v1.lanewise(ASHR, 24);
            a1 = p.fma(((FloatVector) c.castShape(F, 0)).fma(f1, b1), a1);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
    }

    private static void eighths(
            float[] x,
            int xo,
            ByteBuffer w,
            @Nullable Object s,
            int w0,
            int w1,
            int f,
            int shift,
            int words,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z;
        for (int i = 0; i < words; i++) {
            int group = 256 * (i >> shift);
            FloatVector f0 = VectorMemory.floats(w, s, f + group);
            FloatVector f1 = VectorMemory.floats(w, s, f + group + 4 * L);
            IntVector v0 = VectorMemory.ints(w, s, w0 + 64 * i);
            IntVector v1 = VectorMemory.ints(w, s, w1 + 64 * i);
            FloatVector p = FloatVector.broadcast(F, x[xo + 4 * i]);
            IntVector c = v0.lanewise(LSHL, 24).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a0 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f0), a0);
            c = v1.lanewise(LSHL, 24).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a1 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f1), a1);
            p = FloatVector.broadcast(F, x[xo + 4 * i + 1]);
            c = v0.lanewise(LSHL, 16).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a0 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f0), a0);
            c = v1.lanewise(LSHL, 16).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a1 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f1), a1);
            p = FloatVector.broadcast(F, x[xo + 4 * i + 2]);
            c = v0.lanewise(LSHL, 8).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a0 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f0), a0);
            c = v1.lanewise(LSHL, 8).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a1 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f1), a1);
            p = FloatVector.broadcast(F, x[xo + 4 * i + 3]);
            c = v0.lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a0 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f0), a0);
            c = v1.lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            a1 = p.fma(c.reinterpretAsFloats().mul(EIGHTH).mul(f1), a1);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
    }

    private static void nibbles(
            float[] x,
            int xo,
            ByteBuffer w,
            @Nullable Object s,
            int w0,
            int w1,
            int f,
            int b,
            float times,
            int shift,
            int words,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z;
        for (int i = 0; i < words; i++) {
            int group = 256 * (i >> shift);
            FloatVector f0 = VectorMemory.floats(w, s, f + group);
            FloatVector f1 = VectorMemory.floats(w, s, f + group + 4 * L);
            FloatVector g0 = f0.mul(0.0625f);
            FloatVector g1 = f1.mul(0.0625f);
            FloatVector b0 = VectorMemory.floats(w, s, b + group).mul(times);
            FloatVector b1 = VectorMemory.floats(w, s, b + group + 4 * L).mul(times);
            IntVector v0 = VectorMemory.ints(w, s, w0 + 64 * i);
            IntVector v1 = VectorMemory.ints(w, s, w1 + 64 * i);
            FloatVector p = FloatVector.broadcast(F, x[xo + 8 * i]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 15).castShape(F, 0)).fma(f0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 15).castShape(F, 0)).fma(f1, b1), a1);
            p = FloatVector.broadcast(F, x[xo + 8 * i + 1]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 240).castShape(F, 0)).fma(g0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 240).castShape(F, 0)).fma(g1, b1), a1);
            v0 = v0.lanewise(LSHR, 8);
            v1 = v1.lanewise(LSHR, 8);
            p = FloatVector.broadcast(F, x[xo + 8 * i + 2]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 15).castShape(F, 0)).fma(f0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 15).castShape(F, 0)).fma(f1, b1), a1);
            p = FloatVector.broadcast(F, x[xo + 8 * i + 3]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 240).castShape(F, 0)).fma(g0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 240).castShape(F, 0)).fma(g1, b1), a1);
            v0 = v0.lanewise(LSHR, 8);
            v1 = v1.lanewise(LSHR, 8);
            p = FloatVector.broadcast(F, x[xo + 8 * i + 4]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 15).castShape(F, 0)).fma(f0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 15).castShape(F, 0)).fma(f1, b1), a1);
            p = FloatVector.broadcast(F, x[xo + 8 * i + 5]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 240).castShape(F, 0)).fma(g0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 240).castShape(F, 0)).fma(g1, b1), a1);
            v0 = v0.lanewise(LSHR, 8);
            v1 = v1.lanewise(LSHR, 8);
            p = FloatVector.broadcast(F, x[xo + 8 * i + 6]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 15).castShape(F, 0)).fma(f0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 15).castShape(F, 0)).fma(f1, b1), a1);
            p = FloatVector.broadcast(F, x[xo + 8 * i + 7]);
            a0 = p.fma(((FloatVector) v0.lanewise(AND, 240).castShape(F, 0)).fma(g0, b0), a0);
            a1 = p.fma(((FloatVector) v1.lanewise(AND, 240).castShape(F, 0)).fma(g1, b1), a1);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
    }

    /** Four rows, {@code [in, 4]}; with two vectors to a block. */
    static void tile(float[] x, int xo, int rows, Panel panel, float[] factors, float[] out, int oo, int os) {
        switch (panel.layout()) {
            case SIGNED_NIBBLES -> VectorNibbles.tile(x, xo, rows, panel, factors, out, oo, os);
            case INTEGERS -> VectorIntegers.tile(x, xo, rows, panel, out, oo, os);
            case PAIRS -> {
                for (int column = 0; column < Panel.COLUMNS; column += 2 * L) {
                    int from = panel.column(column);
                    tilePairs(x, xo, panel.bytes(), panel.segment(), from, panel.in() / 2, out, oo + column, os);
                }
            }
            default -> throw new IllegalStateException(panel.layout() + " is widened first");
        }
    }

    /** As in {@link VectorIntegers}. */
    private static void tilePairs(
            float[] x, int xo, ByteBuffer w, @Nullable Object s, int from, int pairs, float[] out, int oo, int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, b0 = z, b1 = z, c0 = z, c1 = z, d0 = z, d1 = z;
        for (int i = 0; i < pairs; i++) {
            IntVector w0 = VectorMemory.ints(w, s, from + 64 * i);
            IntVector w1 = VectorMemory.ints(w, s, from + 64 * i + 4 * L);
            int at = xo + 8 * i;
            FloatVector v0 = even(w0);
            FloatVector v1 = even(w1);
            FloatVector q = FloatVector.broadcast(F, x[at]);
            a0 = q.fma(v0, a0);
            a1 = q.fma(v1, a1);
            q = FloatVector.broadcast(F, x[at + 1]);
            b0 = q.fma(v0, b0);
            b1 = q.fma(v1, b1);
            q = FloatVector.broadcast(F, x[at + 2]);
            c0 = q.fma(v0, c0);
            c1 = q.fma(v1, c1);
            q = FloatVector.broadcast(F, x[at + 3]);
            d0 = q.fma(v0, d0);
            d1 = q.fma(v1, d1);
            d0.intoArray(out, oo + 3 * os);
            d1.intoArray(out, oo + 3 * os + L);
            v0 = odd(w0);
            v1 = odd(w1);
            q = FloatVector.broadcast(F, x[at + 4]);
            a0 = q.fma(v0, a0);
            a1 = q.fma(v1, a1);
            q = FloatVector.broadcast(F, x[at + 5]);
            b0 = q.fma(v0, b0);
            b1 = q.fma(v1, b1);
            q = FloatVector.broadcast(F, x[at + 6]);
            c0 = q.fma(v0, c0);
            c1 = q.fma(v1, c1);
            q = FloatVector.broadcast(F, x[at + 7]);
            d0 = q.fma(v0, d0);
            d1 = q.fma(v1, d1);
            d0.intoArray(out, oo + 3 * os);
            d1.intoArray(out, oo + 3 * os + L);
        }
        ONE.mul(a0).intoArray(out, oo);
        ONE.mul(a1).intoArray(out, oo + L);
        ONE.mul(b0).intoArray(out, oo + os);
        ONE.mul(b1).intoArray(out, oo + os + L);
        ONE.mul(c0).intoArray(out, oo + 2 * os);
        ONE.mul(c1).intoArray(out, oo + 2 * os + L);
        ONE.mul(d0).intoArray(out, oo + 3 * os);
        ONE.mul(d1).intoArray(out, oo + 3 * os + L);
    }

    private static void widenPairs(ByteBuffer w, @Nullable Object s, int from, int rows, float[] out, int oo) {
        for (int row = 0; row < rows; row++) {
            for (int c = 0; c < 16; c += 2 * L) {
                int to = oo + 32 * row + c;
                IntVector v = VectorMemory.ints(w, s, from + 64 * row + 4 * c);
                even(v).intoArray(out, to);
                odd(v).intoArray(out, to + 16);
                if (L < 16) {
                    v = VectorMemory.ints(w, s, from + 64 * row + 4 * (c + L));
                    even(v).intoArray(out, to + L);
                    odd(v).intoArray(out, to + 16 + L);
                }
            }
        }
    }

    private static void widenHalves(ByteBuffer w, @Nullable Object s, int from, int rows, float[] out, int oo) {
        for (int row = 0; row < rows; row++) {
            for (int c = 0; c < 16; c += L) {
                IntVector v = VectorMemory.ints(w, s, from + 64 * row + 4 * c);
                IntVector even = v.lanewise(LSHL, 16).lanewise(ASHR, 3).lanewise(AND, HALF_BITS);
                even.reinterpretAsFloats().mul(HALF).intoArray(out, oo + 32 * row + c);
                IntVector odd = v.lanewise(ASHR, 3).lanewise(AND, HALF_BITS);
                odd.reinterpretAsFloats().mul(HALF).intoArray(out, oo + 32 * row + 16 + c);
            }
        }
    }

    private static void widenBytes(
            ByteBuffer w,
            @Nullable Object s,
            int at,
            int words,
            int factor,
            int offset,
            float times,
            float[] out,
            int oo) {
        FloatVector f = VectorMemory.floats(w, s, factor);
        FloatVector b = VectorMemory.floats(w, s, offset).mul(times);
        for (int i = 0; i < words; i++) {
            IntVector v = VectorMemory.ints(w, s, at + 64 * i);
            IntVector c = v.lanewise(LSHL, 24).lanewise(ASHR, 24);
            ((FloatVector) c.castShape(F, 0)).fma(f, b).intoArray(out, oo + 64 * i);
            c = v.lanewise(LSHL, 16).lanewise(ASHR, 24);
            ((FloatVector) c.castShape(F, 0)).fma(f, b).intoArray(out, oo + 64 * i + 16);
            c = v.lanewise(LSHL, 8).lanewise(ASHR, 24);
            ((FloatVector) c.castShape(F, 0)).fma(f, b).intoArray(out, oo + 64 * i + 32);
            c = v.lanewise(ASHR, 24);
            ((FloatVector) c.castShape(F, 0)).fma(f, b).intoArray(out, oo + 64 * i + 48);
        }
    }

    private static void widenEighths(
            ByteBuffer w, @Nullable Object s, int at, int words, int factor, float[] out, int oo) {
        FloatVector f = VectorMemory.floats(w, s, factor);
        for (int i = 0; i < words; i++) {
            IntVector v = VectorMemory.ints(w, s, at + 64 * i);
            IntVector c = v.lanewise(LSHL, 24).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            c.reinterpretAsFloats().mul(EIGHTH).mul(f).intoArray(out, oo + 64 * i);
            c = v.lanewise(LSHL, 16).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            c.reinterpretAsFloats().mul(EIGHTH).mul(f).intoArray(out, oo + 64 * i + 16);
            c = v.lanewise(LSHL, 8).lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            c.reinterpretAsFloats().mul(EIGHTH).mul(f).intoArray(out, oo + 64 * i + 32);
            c = v.lanewise(ASHR, 4).lanewise(AND, EIGHTH_BITS);
            c.reinterpretAsFloats().mul(EIGHTH).mul(f).intoArray(out, oo + 64 * i + 48);
        }
    }

    /** All groups: a word of each output at a time. */
    private static void widenNibbles(
            ByteBuffer w,
            @Nullable Object s,
            int from,
            int shift,
            int words,
            int factor,
            int offset,
            float times,
            float[] out,
            int oo) {
        for (int i = 0; i < words; i++) {
            FloatVector f = VectorMemory.floats(w, s, factor + 256 * (i >> shift));
            FloatVector h = f.mul(0.0625f);
            FloatVector b =
                    VectorMemory.floats(w, s, offset + 256 * (i >> shift)).mul(times);
            int to = oo + 128 * i;
            IntVector v = VectorMemory.ints(w, s, from + 64 * i);
            ((FloatVector) v.lanewise(AND, 15).convertShape(I2F, F, 0))
                    .fma(f, b)
                    .intoArray(out, to);
            ((FloatVector) v.lanewise(AND, 240).convertShape(I2F, F, 0))
                    .fma(h, b)
                    .intoArray(out, to + 16);
            v = v.lanewise(LSHR, 8);
            ((FloatVector) v.lanewise(AND, 15).convertShape(I2F, F, 0))
                    .fma(f, b)
                    .intoArray(out, to + 32);
            ((FloatVector) v.lanewise(AND, 240).convertShape(I2F, F, 0))
                    .fma(h, b)
                    .intoArray(out, to + 48);
            v = v.lanewise(LSHR, 8);
            ((FloatVector) v.lanewise(AND, 15).convertShape(I2F, F, 0))
                    .fma(f, b)
                    .intoArray(out, to + 64);
            ((FloatVector) v.lanewise(AND, 240).convertShape(I2F, F, 0))
                    .fma(h, b)
                    .intoArray(out, to + 80);
            v = v.lanewise(LSHR, 8);
            ((FloatVector) v.lanewise(AND, 15).convertShape(I2F, F, 0))
                    .fma(f, b)
                    .intoArray(out, to + 96);
            ((FloatVector) v.lanewise(AND, 240).convertShape(I2F, F, 0))
                    .fma(h, b)
                    .intoArray(out, to + 112);
        }
    }
}
