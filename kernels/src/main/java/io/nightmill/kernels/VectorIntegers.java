package io.nightmill.kernels;

import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/**
 * {@link Panel.Layout#INTEGERS} in vectors of 256 bits at most: a vector of words is two neighbouring inputs of two vectors of outputs, which lie
 * eight outputs apart. What is said of C2 in {@link VectorPanels} goes for this as well. Only machines that oneDNN does not multiply bytes on have
 * such panels, so that its vectors are of one shape with all others but for AVX-512 without the library.
 */
final class VectorIntegers {
    private static final VectorSpecies<Float> F =
            Species.FLOATS.length() < 8 ? Species.FLOATS : FloatVector.SPECIES_256;
    private static final int L = F.length();
    /** Of the words of a block. */
    private static final int PARTS = 8 / L;

    /** The highest byte of a word. As a number it is 2^24 times the byte, which takes a shift less; sums of such are as exact. */
    private static final IntVector TOP = IntVector.broadcast(VectorMemory.INTS_256, 0xff000000);

    /**
     * What the sums are multiplied by. As a constant its class is known to C2, which may not have found out that of a loop's sums by the time it
     * compiles their stores: those stayed calls then, and the sums were boxed each time around.
     */
    private static final FloatVector UNIT = FloatVector.broadcast(F, 0x1p-24f);

    private VectorIntegers() {}

    /** As {@link VectorPanels#dots}. */
    static void dots(float[] x, int xo, Panel panel, float[] out, int oo) {
        for (int n = 0; n < Panel.COLUMNS / (2 * L); n += 2) {
            int from = from(panel, n);
            int next = from(panel, n + 1);
            dots(x, xo, panel.bytes(), panel.segment(), from, next, panel.in(), out, oo + to(n), oo + to(n + 1));
        }
    }

    /** Byte of the n-th vector of a panel's words. */
    private static int from(Panel panel, int n) {
        return panel.column(16 * (n / PARTS)) + 4 * L * (n % PARTS);
    }

    /** The first of its outputs. */
    private static int to(int n) {
        return 16 * (n / PARTS) + L * (n % PARTS);
    }

    private static void dots(
            float[] x, int xo, ByteBuffer w, @Nullable Object s, int w0, int w1, int k, float[] out, int o0, int o1) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, b0 = z, b1 = z;
        for (int d = 0; d < k; d += 2) {
            IntVector v = VectorMemory.ints256(w, s, w0 + 16 * d);
            IntVector u = VectorMemory.ints256(w, s, w1 + 16 * d);
            FloatVector q = FloatVector.broadcast(F, x[xo + d]);
            a0 = q.fma((FloatVector) v.lanewise(LSHL, 24).convertShape(I2F, F, 0), a0);
            a1 = q.fma((FloatVector) v.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0), a1);
            b0 = q.fma((FloatVector) u.lanewise(LSHL, 24).convertShape(I2F, F, 0), b0);
            b1 = q.fma((FloatVector) u.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0), b1);
            q = FloatVector.broadcast(F, x[xo + d + 1]);
            a0 = q.fma((FloatVector) v.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0), a0);
            a1 = q.fma((FloatVector) v.and(TOP).convertShape(I2F, F, 0), a1);
            b0 = q.fma((FloatVector) u.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0), b0);
            b1 = q.fma((FloatVector) u.and(TOP).convertShape(I2F, F, 0), b1);
        }
        UNIT.mul(a0).intoArray(out, o0);
        UNIT.mul(a1).intoArray(out, o0 + 8);
        UNIT.mul(b0).intoArray(out, o1);
        UNIT.mul(b1).intoArray(out, o1 + 8);
    }

    /** As {@link VectorPanels#widen}. */
    static void widen(Panel panel, int block, float[] out, int oo) {
        for (int n = block * PARTS; n < (block + 1) * PARTS; n++) {
            widen(panel.bytes(), panel.segment(), from(panel, n), panel.in(), out, oo + to(n) % 16);
        }
    }

    private static void widen(ByteBuffer w, @Nullable Object s, int from, int k, float[] out, int oo) {
        for (int d = 0; d < k; d += 2) {
            IntVector v = VectorMemory.ints256(w, s, from + 16 * d);
            int to = oo + 16 * d;
            ((FloatVector) v.lanewise(LSHL, 24).lanewise(ASHR, 24).convertShape(I2F, F, 0)).intoArray(out, to);
            ((FloatVector) v.lanewise(LSHL, 8).lanewise(ASHR, 24).convertShape(I2F, F, 0)).intoArray(out, to + 8);
            ((FloatVector) v.lanewise(LSHL, 16).lanewise(ASHR, 24).convertShape(I2F, F, 0)).intoArray(out, to + 16);
            ((FloatVector) v.lanewise(ASHR, 24).convertShape(I2F, F, 0)).intoArray(out, to + 24);
        }
    }

    /** As {@link VectorPanels#tile}. */
    static void tile(float[] x, int xo, int rows, Panel panel, float[] out, int oo, int os) {
        ByteBuffer w = panel.bytes();
        int pairs = panel.in() / 2;
        for (int n = 0; n < Panel.COLUMNS / (2 * L); n += 2) {
            int w0 = from(panel, n);
            int w1 = from(panel, n + 1);
            int o0 = oo + to(n);
            int o1 = oo + to(n + 1);
            if (rows <= 2) {
                tile2(x, xo, w, panel.segment(), w0, w1, pairs, out, o0, o1, os);
            } else {
                tile4(x, xo, w, panel.segment(), w0, pairs, out, o0, os);
                tile4(x, xo, w, panel.segment(), w1, pairs, out, o1, os);
            }
        }
    }

    /**
     * Four rows. What has been added up is stored on the way as well: C2 would load the values of both inputs before the first is multiplied, and
     * not keep eight sums in registers beside them, but it moves no load across a store.
     */
    private static void tile4(
            float[] x, int xo, ByteBuffer w, @Nullable Object s, int from, int pairs, float[] out, int oo, int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, b0 = z, b1 = z, c0 = z, c1 = z, d0 = z, d1 = z;
        for (int i = 0; i < pairs; i++) {
            IntVector v = VectorMemory.ints256(w, s, from + 32 * i);
            int at = xo + 8 * i;
            FloatVector v0 = (FloatVector) v.lanewise(LSHL, 24).convertShape(I2F, F, 0);
            FloatVector v1 = (FloatVector) v.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0);
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
            d1.intoArray(out, oo + 3 * os + 8);
            v0 = (FloatVector) v.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0);
            v1 = (FloatVector) v.and(TOP).convertShape(I2F, F, 0);
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
        }
        UNIT.mul(a0).intoArray(out, oo);
        UNIT.mul(a1).intoArray(out, oo + 8);
        UNIT.mul(b0).intoArray(out, oo + os);
        UNIT.mul(b1).intoArray(out, oo + os + 8);
        UNIT.mul(c0).intoArray(out, oo + 2 * os);
        UNIT.mul(c1).intoArray(out, oo + 2 * os + 8);
        UNIT.mul(d0).intoArray(out, oo + 3 * os);
        UNIT.mul(d1).intoArray(out, oo + 3 * os + 8);
    }

    /** Two rows by two vectors of words, as {@link #tile4}: one vector and then the other, whose second inputs are loaded after a store too. */
    private static void tile2(
            float[] x,
            int xo,
            ByteBuffer w,
            @Nullable Object s,
            int w0,
            int w1,
            int pairs,
            float[] out,
            int o0,
            int o1,
            int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z, b0 = z, b1 = z, b2 = z, b3 = z;
        for (int i = 0; i < pairs; i++) {
            IntVector v = VectorMemory.ints256(w, s, w0 + 32 * i);
            int at = xo + 8 * i;
            FloatVector p = FloatVector.broadcast(F, x[at]);
            FloatVector q = FloatVector.broadcast(F, x[at + 1]);
            FloatVector f = (FloatVector) v.lanewise(LSHL, 24).convertShape(I2F, F, 0);
            a0 = p.fma(f, a0);
            b0 = q.fma(f, b0);
            f = (FloatVector) v.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0);
            a1 = p.fma(f, a1);
            b1 = q.fma(f, b1);
            p = FloatVector.broadcast(F, x[at + 4]);
            q = FloatVector.broadcast(F, x[at + 5]);
            f = (FloatVector) v.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0);
            a0 = p.fma(f, a0);
            b0 = q.fma(f, b0);
            f = (FloatVector) v.and(TOP).convertShape(I2F, F, 0);
            a1 = p.fma(f, a1);
            b1 = q.fma(f, b1);
            b1.intoArray(out, o0 + os + 8);
            IntVector u = VectorMemory.ints256(w, s, w1 + 32 * i);
            p = FloatVector.broadcast(F, x[at]);
            q = FloatVector.broadcast(F, x[at + 1]);
            f = (FloatVector) u.lanewise(LSHL, 24).convertShape(I2F, F, 0);
            a2 = p.fma(f, a2);
            b2 = q.fma(f, b2);
            f = (FloatVector) u.lanewise(LSHL, 8).and(TOP).convertShape(I2F, F, 0);
            a3 = p.fma(f, a3);
            b3 = q.fma(f, b3);
            b3.intoArray(out, o1 + os + 8);
            p = FloatVector.broadcast(F, x[at + 4]);
            q = FloatVector.broadcast(F, x[at + 5]);
            f = (FloatVector) u.lanewise(LSHL, 16).and(TOP).convertShape(I2F, F, 0);
            a2 = p.fma(f, a2);
            b2 = q.fma(f, b2);
            f = (FloatVector) u.and(TOP).convertShape(I2F, F, 0);
            a3 = p.fma(f, a3);
            b3 = q.fma(f, b3);
        }
        UNIT.mul(a0).intoArray(out, o0);
        UNIT.mul(a1).intoArray(out, o0 + 8);
        UNIT.mul(a2).intoArray(out, o1);
        UNIT.mul(a3).intoArray(out, o1 + 8);
        UNIT.mul(b0).intoArray(out, o0 + os);
        UNIT.mul(b1).intoArray(out, o0 + os + 8);
        UNIT.mul(b2).intoArray(out, o1 + os);
        UNIT.mul(b3).intoArray(out, o1 + os + 8);
    }
}
