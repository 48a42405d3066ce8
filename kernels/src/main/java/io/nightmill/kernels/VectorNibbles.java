package io.nightmill.kernels;

import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@link Panel.Layout#SIGNED_NIBBLES} in vectors of 256 bits: a vector of words is two neighbouring inputs of four vectors of outputs. A code is read
 * as the number that it is in the highest bits of a word. What is said of C2 in {@link VectorPanels} and {@link VectorIntegers} goes
 * for this as well; that factors lie in an array, not in the panel's memory, is for C2 too, which takes fourteen instructions for a vector from a buffer.
 */
final class VectorNibbles {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_256;
    private static final IntVector TOP = IntVector.broadcast(VectorMemory.INTS_256, 0xf0000000);
    private static final FloatVector ONE = FloatVector.broadcast(F, 1f);
    /** Outputs of a vector of words. */
    private static final int OUTPUTS = 32;

    private VectorNibbles() {}

    /** As {@link VectorPanels#dots}. */
    static void dots(float[] x, int xo, Panel panel, float[] factors, float[] out, int oo) {
        ByteBuffer w = panel.bytes();
        Object s = panel.segment();
        int next = panel.column(OUTPUTS);
        int pairs = panel.in() / 2;
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z, b0 = z, b1 = z, b2 = z, b3 = z;
        for (int i = 0; i < pairs; i++) {
            IntVector v = VectorMemory.ints256(w, s, 32 * i);
            IntVector u = VectorMemory.ints256(w, s, next + 32 * i);
            int f = factors(i);
            FloatVector p = FloatVector.broadcast(F, x[xo + 2 * i]);
            a0 = p.fma(
                    ((FloatVector) v.lanewise(LSHL, 28).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f)),
                    a0);
            a1 = p.fma(
                    ((FloatVector) v.lanewise(LSHL, 20).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 8)),
                    a1);
            a2 = p.fma(
                    ((FloatVector) v.lanewise(LSHL, 12).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 16)),
                    a2);
            a3 = p.fma(
                    ((FloatVector) v.lanewise(LSHL, 4).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 24)),
                    a3);
            b0 = p.fma(
                    ((FloatVector) u.lanewise(LSHL, 28).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 32)),
                    b0);
            b1 = p.fma(
                    ((FloatVector) u.lanewise(LSHL, 20).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 40)),
                    b1);
            b2 = p.fma(
                    ((FloatVector) u.lanewise(LSHL, 12).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 48)),
                    b2);
            b3 = p.fma(
                    ((FloatVector) u.lanewise(LSHL, 4).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 56)),
                    b3);
            b3.intoArray(out, oo + 56);
            p = FloatVector.broadcast(F, x[xo + 2 * i + 1]);
            a0 = p.fma(
                    ((FloatVector) v.lanewise(LSHL, 24).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f)),
                    a0);
            a1 = p.fma(
                    ((FloatVector) v.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 8)),
                    a1);
            a2 = p.fma(
                    ((FloatVector) v.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 16)),
                    a2);
            a3 = p.fma(
                    ((FloatVector) v.and(TOP).convertShape(I2F, F, 0)).mul(FloatVector.fromArray(F, factors, f + 24)),
                    a3);
            b0 = p.fma(
                    ((FloatVector) u.lanewise(LSHL, 24).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 32)),
                    b0);
            b1 = p.fma(
                    ((FloatVector) u.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 40)),
                    b1);
            b2 = p.fma(
                    ((FloatVector) u.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0))
                            .mul(FloatVector.fromArray(F, factors, f + 48)),
                    b2);
            b3 = p.fma(
                    ((FloatVector) u.and(TOP).convertShape(I2F, F, 0)).mul(FloatVector.fromArray(F, factors, f + 56)),
                    b3);
        }
        ONE.mul(a0).intoArray(out, oo);
        ONE.mul(a1).intoArray(out, oo + 8);
        ONE.mul(a2).intoArray(out, oo + 16);
        ONE.mul(a3).intoArray(out, oo + 24);
        ONE.mul(b0).intoArray(out, oo + 32);
        ONE.mul(b1).intoArray(out, oo + 40);
        ONE.mul(b2).intoArray(out, oo + 48);
        ONE.mul(b3).intoArray(out, oo + 56);
    }

    /** Where the factors of a pair's group are; groups are of 32. */
    private static int factors(int pair) {
        return (pair & -16) << 2;
    }

    /** As {@link VectorPanels#widen}. */
    static void widen(Panel panel, int first, float[] factors, float[] out, int oo) {
        ByteBuffer w = panel.bytes();
        Object s = panel.segment();
        int from = panel.column(16 * first);
        int second = oo + 16 * panel.in();
        int pairs = panel.in() / 2;
        for (int i = 0; i < pairs; i++) {
            IntVector v = VectorMemory.ints256(w, s, from + 32 * i);
            int f = 16 * first + factors(i);
            int to = oo + 32 * i;
            int next = second + 32 * i;
            FloatVector f0 = FloatVector.fromArray(F, factors, f);
            FloatVector f1 = FloatVector.fromArray(F, factors, f + 8);
            FloatVector f2 = FloatVector.fromArray(F, factors, f + 16);
            FloatVector f3 = FloatVector.fromArray(F, factors, f + 24);
            ((FloatVector) v.lanewise(LSHL, 28).convertShape(I2F, F, 0)).mul(f0).intoArray(out, to);
            ((FloatVector) v.lanewise(LSHL, 20).and(TOP).convertShape(I2F, F, 0))
                    .mul(f1)
                    .intoArray(out, to + 8);
            ((FloatVector) v.lanewise(LSHL, 24).and(TOP).convertShape(I2F, F, 0))
                    .mul(f0)
                    .intoArray(out, to + 16);
            ((FloatVector) v.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0))
                    .mul(f1)
                    .intoArray(out, to + 24);
            ((FloatVector) v.lanewise(LSHL, 12).and(TOP).convertShape(I2F, F, 0))
                    .mul(f2)
                    .intoArray(out, next);
            ((FloatVector) v.lanewise(LSHL, 4).and(TOP).convertShape(I2F, F, 0))
                    .mul(f3)
                    .intoArray(out, next + 8);
            ((FloatVector) v.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0))
                    .mul(f2)
                    .intoArray(out, next + 16);
            ((FloatVector) v.and(TOP).convertShape(I2F, F, 0)).mul(f3).intoArray(out, next + 24);
        }
    }

    /** As {@link VectorPanels#tile}. */
    static void tile(float[] x, int xo, int rows, Panel panel, float[] factors, float[] out, int oo, int os) {
        for (int column = 0; column < Panel.COLUMNS; column += OUTPUTS) {
            if (rows <= 2) {
                tile2(x, xo, panel, column, factors, out, oo + column, os);
            } else {
                tile4(x, xo, panel, column, factors, out, oo + column, os);
                tile4(x, xo, panel, column + 16, factors, out, oo + column + 16, os);
            }
        }
    }

    /** Two rows by 32 outputs. */
    private static void tile2(
            float[] x, int xo, Panel panel, int column, float[] factors, float[] out, int oo, int os) {
        ByteBuffer bytes = panel.bytes();
        Object s = panel.segment();
        int from = panel.column(column);
        int pairs = panel.in() / 2;
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z, b0 = z, b1 = z, b2 = z, b3 = z;
        for (int i = 0; i < pairs; i++) {
            IntVector v = VectorMemory.ints256(bytes, s, from + 32 * i);
            int at = xo + 8 * i;
            int f = column + factors(i);
            FloatVector p = FloatVector.broadcast(F, x[at]);
            FloatVector q = FloatVector.broadcast(F, x[at + 1]);
            FloatVector w = ((FloatVector) v.lanewise(LSHL, 28).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f));
            a0 = p.fma(w, a0);
            b0 = q.fma(w, b0);
            w = ((FloatVector) v.lanewise(LSHL, 20).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f + 8));
            a1 = p.fma(w, a1);
            b1 = q.fma(w, b1);
            w = ((FloatVector) v.lanewise(LSHL, 12).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f + 16));
            a2 = p.fma(w, a2);
            b2 = q.fma(w, b2);
            w = ((FloatVector) v.lanewise(LSHL, 4).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f + 24));
            a3 = p.fma(w, a3);
            b3 = q.fma(w, b3);
            b3.intoArray(out, oo + os + 24);
            p = FloatVector.broadcast(F, x[at + 4]);
            q = FloatVector.broadcast(F, x[at + 5]);
            w = ((FloatVector) v.lanewise(LSHL, 24).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f));
            a0 = p.fma(w, a0);
            b0 = q.fma(w, b0);
            w = ((FloatVector) v.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f + 8));
            a1 = p.fma(w, a1);
            b1 = q.fma(w, b1);
            w = ((FloatVector) v.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f + 16));
            a2 = p.fma(w, a2);
            b2 = q.fma(w, b2);
            w = ((FloatVector) v.and(TOP).convertShape(I2F, F, 0)).mul(FloatVector.fromArray(F, factors, f + 24));
            a3 = p.fma(w, a3);
            b3 = q.fma(w, b3);
        }
        ONE.mul(a0).intoArray(out, oo);
        ONE.mul(a1).intoArray(out, oo + 8);
        ONE.mul(a2).intoArray(out, oo + 16);
        ONE.mul(a3).intoArray(out, oo + 24);
        ONE.mul(b0).intoArray(out, oo + os);
        ONE.mul(b1).intoArray(out, oo + os + 8);
        ONE.mul(b2).intoArray(out, oo + os + 16);
        ONE.mul(b3).intoArray(out, oo + os + 24);
    }

    /** Four rows by 16 outputs, the low or the high half of words. */
    private static void tile4(
            float[] x, int xo, Panel panel, int column, float[] factors, float[] out, int oo, int os) {
        ByteBuffer bytes = panel.bytes();
        Object s = panel.segment();
        int from = panel.column(column / OUTPUTS * OUTPUTS);
        int up = 16 - column % OUTPUTS;
        int pairs = panel.in() / 2;
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, b0 = z, b1 = z, c0 = z, c1 = z, d0 = z, d1 = z;
        for (int i = 0; i < pairs; i++) {
            IntVector v = VectorMemory.ints256(bytes, s, from + 32 * i).lanewise(LSHL, up);
            int at = xo + 8 * i;
            int f = column + factors(i);
            FloatVector w0 = ((FloatVector) v.lanewise(LSHL, 12).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f));
            FloatVector w1 = ((FloatVector) v.lanewise(LSHL, 4).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f + 8));
            FloatVector q = FloatVector.broadcast(F, x[at]);
            a0 = q.fma(w0, a0);
            a1 = q.fma(w1, a1);
            q = FloatVector.broadcast(F, x[at + 1]);
            b0 = q.fma(w0, b0);
            b1 = q.fma(w1, b1);
            q = FloatVector.broadcast(F, x[at + 2]);
            c0 = q.fma(w0, c0);
            c1 = q.fma(w1, c1);
            q = FloatVector.broadcast(F, x[at + 3]);
            d0 = q.fma(w0, d0);
            d1 = q.fma(w1, d1);
            d0.intoArray(out, oo + 3 * os);
            d1.intoArray(out, oo + 3 * os + 8);
            w0 = ((FloatVector) v.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0))
                    .mul(FloatVector.fromArray(F, factors, f));
            w1 = ((FloatVector) v.and(TOP).convertShape(I2F, F, 0)).mul(FloatVector.fromArray(F, factors, f + 8));
            q = FloatVector.broadcast(F, x[at + 4]);
            a0 = q.fma(w0, a0);
            a1 = q.fma(w1, a1);
            q = FloatVector.broadcast(F, x[at + 5]);
            b0 = q.fma(w0, b0);
            b1 = q.fma(w1, b1);
            q = FloatVector.broadcast(F, x[at + 6]);
            c0 = q.fma(w0, c0);
            c1 = q.fma(w1, c1);
            q = FloatVector.broadcast(F, x[at + 7]);
            d0 = q.fma(w0, d0);
            d1 = q.fma(w1, d1);
        }
        ONE.mul(a0).intoArray(out, oo);
        ONE.mul(a1).intoArray(out, oo + 8);
        ONE.mul(b0).intoArray(out, oo + os);
        ONE.mul(b1).intoArray(out, oo + os + 8);
        ONE.mul(c0).intoArray(out, oo + 2 * os);
        ONE.mul(c1).intoArray(out, oo + 2 * os + 8);
        ONE.mul(d0).intoArray(out, oo + 3 * os);
        ONE.mul(d1).intoArray(out, oo + 3 * os + 8);
    }
}
