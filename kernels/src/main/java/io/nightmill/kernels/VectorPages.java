package io.nightmill.kernels;

import io.nightmill.tensor.KvType;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** The loops of {@link VectorLanes} over pages of bfloat16 and of bytes, which are widened in registers; written out for C2. */
abstract class VectorPages implements Lanes {
    private static final VectorSpecies<Float> F = Species.FLOATS;
    private static final VectorSpecies<Integer> I = Species.INTS;
    private static final int L = F.length();
    /** Rows from which on it pays to widen pages of values. */
    private static final int MANY = 6;
    /** Sums of two rows of 32 columns over each of four blocks. */
    private static final int SUMS = 4 * 2 * 32;

    private static final ThreadLocal<float[]> WIDE = ThreadLocal.withInitial(() -> new float[0]);

    @Override
    public void pairDots(
            float[] x, int xo, int xs, int m, int[][] words, int[] at, int k, float[] out, int oo, int os) {
        if (k % 2 != 0) {
            Lanes.super.pairDots(x, xo, xs, m, words, at, k, out, oo, os);
            return;
        }
        for (int column = 0; column < 64; column += 4 * L) {
            int[] u0 = words[column / 16];
            int[] u1 = words[(column + L) / 16];
            int[] u2 = words[(column + 2 * L) / 16];
            int[] u3 = words[(column + 3 * L) / 16];
            int w0 = at[column / 16] + column % 16;
            int w1 = at[(column + L) / 16] + (column + L) % 16;
            int w2 = at[(column + 2 * L) / 16] + (column + 2 * L) % 16;
            int w3 = at[(column + 3 * L) / 16] + (column + 3 * L) % 16;
            int i = 0;
            for (; i + 2 <= m; i += 2) {
                pair2x4(x, xo + i * xs, xs, u0, w0, u1, w1, u2, w2, u3, w3, k, out, oo + i * os + column, os);
            }
            if (i < m) {
                pair1x4(x, xo + i * xs, u0, w0, u1, w1, u2, w2, u3, w3, k, out, oo + i * os + column);
            }
        }
    }

    private static void pair2x4(
            float[] x,
            int xo,
            int xs,
            int[] u0,
            int w0,
            int[] u1,
            int w1,
            int[] u2,
            int w2,
            int[] u3,
            int w3,
            int k,
            float[] out,
            int oo,
            int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        FloatVector b0 = z, b1 = z, b2 = z, b3 = z;
        for (int d = 0; d < k; d += 2) {
            FloatVector p = FloatVector.broadcast(F, x[xo + d]);
            FloatVector q = FloatVector.broadcast(F, x[xo + d + 1]);
            FloatVector r = FloatVector.broadcast(F, x[xo + xs + d]);
            FloatVector s = FloatVector.broadcast(F, x[xo + xs + d + 1]);
            IntVector v = IntVector.fromArray(I, u0, w0 + 8 * d);
            FloatVector e = VectorPanels.even(v);
            FloatVector o = VectorPanels.odd(v);
            a0 = q.fma(o, p.fma(e, a0));
            b0 = s.fma(o, r.fma(e, b0));
            v = IntVector.fromArray(I, u1, w1 + 8 * d);
            e = VectorPanels.even(v);
            o = VectorPanels.odd(v);
            a1 = q.fma(o, p.fma(e, a1));
            b1 = s.fma(o, r.fma(e, b1));
            v = IntVector.fromArray(I, u2, w2 + 8 * d);
            e = VectorPanels.even(v);
            o = VectorPanels.odd(v);
            a2 = q.fma(o, p.fma(e, a2));
            b2 = s.fma(o, r.fma(e, b2));
            v = IntVector.fromArray(I, u3, w3 + 8 * d);
            e = VectorPanels.even(v);
            o = VectorPanels.odd(v);
            a3 = q.fma(o, p.fma(e, a3));
            b3 = s.fma(o, r.fma(e, b3));
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
        b0.intoArray(out, oo + os);
        b1.intoArray(out, oo + os + L);
        b2.intoArray(out, oo + os + 2 * L);
        b3.intoArray(out, oo + os + 3 * L);
    }

    private static void pair1x4(
            float[] x,
            int xo,
            int[] u0,
            int w0,
            int[] u1,
            int w1,
            int[] u2,
            int w2,
            int[] u3,
            int w3,
            int k,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        for (int d = 0; d < k; d += 2) {
            FloatVector p = FloatVector.broadcast(F, x[xo + d]);
            FloatVector q = FloatVector.broadcast(F, x[xo + d + 1]);
            IntVector v0 = IntVector.fromArray(I, u0, w0 + 8 * d);
            IntVector v1 = IntVector.fromArray(I, u1, w1 + 8 * d);
            IntVector v2 = IntVector.fromArray(I, u2, w2 + 8 * d);
            IntVector v3 = IntVector.fromArray(I, u3, w3 + 8 * d);
            a0 = q.fma(VectorPanels.odd(v0), p.fma(VectorPanels.even(v0), a0));
            a1 = q.fma(VectorPanels.odd(v1), p.fma(VectorPanels.even(v1), a1));
            a2 = q.fma(VectorPanels.odd(v2), p.fma(VectorPanels.even(v2), a2));
            a3 = q.fma(VectorPanels.odd(v3), p.fma(VectorPanels.even(v3), a3));
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
    }

    @Override
    public void pairWeighted(
            float[] p, int po, int ps, int m, int[][] words, int[] at, int width, float[] out, int oo, int os) {
        if (L == 8 && m >= MANY && width % 32 == 0) {
            wideWeighted(p, po, ps, m, words, at, width, out, oo, os);
            return;
        }
        int[] u0 = words[0];
        int[] u1 = words[1];
        int[] u2 = words[2];
        int[] u3 = words[3];
        int whole = width - width % L;
        for (int d = 0; d < whole; d += L) {
            int column = d / 16 * 128 + d % 16;
            int w0 = at[0] + column;
            int w1 = at[1] + column;
            int w2 = at[2] + column;
            int w3 = at[3] + column;
            int i = 0;
            for (; i + 2 <= m; i += 2) {
                pairWeighted2x4(p, po + i * ps, ps, u0, w0, u1, w1, u2, w2, u3, w3, out, oo + i * os + d, os);
            }
            if (i < m) {
                pairWeighted1x4(p, po + i * ps, u0, w0, u1, w1, u2, w2, u3, w3, out, oo + i * os + d);
            }
        }
        Lanes.pairWeighted(p, po, ps, m, words, at, whole, width, out, oo, os);
    }

    /** {@link #pairWeighted} over rows that are widened once, where registers do not hold what widening them anew takes. */
    private void wideWeighted(
            float[] p, int po, int ps, int m, int[][] words, int[] at, int width, float[] out, int oo, int os) {
        int page = 16 * width;
        float[] mine = WIDE.get();
        if (mine.length < 4 * page + SUMS) {
            mine = new float[4 * page + SUMS];
            WIDE.set(mine);
        }
        for (int block = 0; block < 4; block++) {
            widenPairs(words[block], at[block], width / 2, 16, mine, SUMS + block * page);
        }
        for (int d = 0; d < width; d += 32) {
            for (int i = 0; i + 2 <= m; i += 2) {
                Arrays.fill(mine, 0, SUMS, 0);
                for (int block = 0; block < 4; block++) {
                    int v = SUMS + block * page + 16 * d;
                    weighted2x4(p, po + i * ps + 16 * block, ps, mine, v, 16, 256, 16, mine, 64 * block, 32);
                }
                addSums(mine, 0, out, oo + i * os + d);
                addSums(mine, 32, out, oo + (i + 1) * os + d);
            }
        }
        if (m % 2 == 1) {
            pairWeighted(p, po + (m - 1) * ps, ps, 1, words, at, width, out, oo + (m - 1) * os, os);
        }
    }

    /** Adds a row's sums of four blocks, in pairs. */
    private static void addSums(float[] sums, int from, float[] out, int oo) {
        for (int d = 0; d < 32; d += L) {
            FloatVector a = FloatVector.fromArray(F, sums, from + d).add(FloatVector.fromArray(F, sums, from + 64 + d));
            FloatVector b =
                    FloatVector.fromArray(F, sums, from + 128 + d).add(FloatVector.fromArray(F, sums, from + 192 + d));
            a.add(b).add(FloatVector.fromArray(F, out, oo + d)).intoArray(out, oo + d);
        }
    }

    /** Two rows by four vectors of columns, of which the second two lie {@code half} values behind the first. */
    static void weighted2x4(
            float[] p, int po, int ps, float[] v, int vo, int vs, int half, int n, float[] out, int oo, int os) {
        FloatVector a0 = FloatVector.fromArray(F, out, oo);
        FloatVector a1 = FloatVector.fromArray(F, out, oo + L);
        FloatVector a2 = FloatVector.fromArray(F, out, oo + 2 * L);
        FloatVector a3 = FloatVector.fromArray(F, out, oo + 3 * L);
        FloatVector b0 = FloatVector.fromArray(F, out, oo + os);
        FloatVector b1 = FloatVector.fromArray(F, out, oo + os + L);
        FloatVector b2 = FloatVector.fromArray(F, out, oo + os + 2 * L);
        FloatVector b3 = FloatVector.fromArray(F, out, oo + os + 3 * L);
        for (int j = 0; j < n; j++) {
            int row = vo + j * vs;
            FloatVector q = FloatVector.broadcast(F, p[po + j]);
            FloatVector r = FloatVector.broadcast(F, p[po + ps + j]);
            FloatVector u = FloatVector.fromArray(F, v, row);
            a0 = q.fma(u, a0);
            b0 = r.fma(u, b0);
            u = FloatVector.fromArray(F, v, row + L);
            a1 = q.fma(u, a1);
            b1 = r.fma(u, b1);
            u = FloatVector.fromArray(F, v, row + half);
            a2 = q.fma(u, a2);
            b2 = r.fma(u, b2);
            u = FloatVector.fromArray(F, v, row + half + L);
            a3 = q.fma(u, a3);
            b3 = r.fma(u, b3);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
        b0.intoArray(out, oo + os);
        b1.intoArray(out, oo + os + L);
        b2.intoArray(out, oo + os + 2 * L);
        b3.intoArray(out, oo + os + 3 * L);
    }

    private static void pairWeighted2x4(
            float[] p,
            int po,
            int ps,
            int[] u0,
            int w0,
            int[] u1,
            int w1,
            int[] u2,
            int w2,
            int[] u3,
            int w3,
            float[] out,
            int oo,
            int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        FloatVector b0 = z, b1 = z, b2 = z, b3 = z;
        for (int j = 0; j < 16; j += 2) {
            IntVector v = IntVector.fromArray(I, u0, w0 + 8 * j);
            FloatVector e = VectorPanels.even(v);
            FloatVector o = VectorPanels.odd(v);
            a0 = o.fma(FloatVector.broadcast(F, p[po + j + 1]), e.fma(FloatVector.broadcast(F, p[po + j]), a0));
            b0 = o.fma(
                    FloatVector.broadcast(F, p[po + ps + j + 1]), e.fma(FloatVector.broadcast(F, p[po + ps + j]), b0));
            v = IntVector.fromArray(I, u1, w1 + 8 * j);
            e = VectorPanels.even(v);
            o = VectorPanels.odd(v);
            a1 = o.fma(FloatVector.broadcast(F, p[po + j + 17]), e.fma(FloatVector.broadcast(F, p[po + j + 16]), a1));
            b1 = o.fma(
                    FloatVector.broadcast(F, p[po + ps + j + 17]),
                    e.fma(FloatVector.broadcast(F, p[po + ps + j + 16]), b1));
            v = IntVector.fromArray(I, u2, w2 + 8 * j);
            e = VectorPanels.even(v);
            o = VectorPanels.odd(v);
            a2 = o.fma(FloatVector.broadcast(F, p[po + j + 33]), e.fma(FloatVector.broadcast(F, p[po + j + 32]), a2));
            b2 = o.fma(
                    FloatVector.broadcast(F, p[po + ps + j + 33]),
                    e.fma(FloatVector.broadcast(F, p[po + ps + j + 32]), b2));
            v = IntVector.fromArray(I, u3, w3 + 8 * j);
            e = VectorPanels.even(v);
            o = VectorPanels.odd(v);
            a3 = o.fma(FloatVector.broadcast(F, p[po + j + 49]), e.fma(FloatVector.broadcast(F, p[po + j + 48]), a3));
            b3 = o.fma(
                    FloatVector.broadcast(F, p[po + ps + j + 49]),
                    e.fma(FloatVector.broadcast(F, p[po + ps + j + 48]), b3));
        }
        a0.add(a1).add(a2.add(a3)).add(FloatVector.fromArray(F, out, oo)).intoArray(out, oo);
        b0.add(b1).add(b2.add(b3)).add(FloatVector.fromArray(F, out, oo + os)).intoArray(out, oo + os);
    }

    private static void pairWeighted1x4(
            float[] p,
            int po,
            int[] u0,
            int w0,
            int[] u1,
            int w1,
            int[] u2,
            int w2,
            int[] u3,
            int w3,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        for (int j = 0; j < 16; j += 2) {
            IntVector v = IntVector.fromArray(I, u0, w0 + 8 * j);
            a0 = VectorPanels.odd(v)
                    .fma(
                            FloatVector.broadcast(F, p[po + j + 1]),
                            VectorPanels.even(v).fma(FloatVector.broadcast(F, p[po + j]), a0));
            v = IntVector.fromArray(I, u1, w1 + 8 * j);
            a1 = VectorPanels.odd(v)
                    .fma(
                            FloatVector.broadcast(F, p[po + j + 17]),
                            VectorPanels.even(v).fma(FloatVector.broadcast(F, p[po + j + 16]), a1));
            v = IntVector.fromArray(I, u2, w2 + 8 * j);
            a2 = VectorPanels.odd(v)
                    .fma(
                            FloatVector.broadcast(F, p[po + j + 33]),
                            VectorPanels.even(v).fma(FloatVector.broadcast(F, p[po + j + 32]), a2));
            v = IntVector.fromArray(I, u3, w3 + 8 * j);
            a3 = VectorPanels.odd(v)
                    .fma(
                            FloatVector.broadcast(F, p[po + j + 49]),
                            VectorPanels.even(v).fma(FloatVector.broadcast(F, p[po + j + 48]), a3));
        }
        a0.add(a1).add(a2.add(a3)).add(FloatVector.fromArray(F, out, oo)).intoArray(out, oo);
    }

    @Override
    public void widenPairs(int[] words, int at, int rows, int columns, float[] out, int oo) {
        if (columns % L != 0) {
            Lanes.super.widenPairs(words, at, rows, columns, out, oo);
            return;
        }
        for (int row = 0; row < rows; row++) {
            int from = at + row * columns;
            int to = oo + 2 * row * columns;
            for (int c = 0; c < columns; c += L) {
                IntVector pairs = IntVector.fromArray(I, words, from + c);
                VectorPanels.even(pairs).intoArray(out, to + c);
                VectorPanels.odd(pairs).intoArray(out, to + columns + c);
            }
        }
    }

    @Override
    public void widenQuads(int[] words, int at, int rows, int columns, float[] out, int oo) {
        if (columns % L != 0) {
            Lanes.super.widenQuads(words, at, rows, columns, out, oo);
            return;
        }
        for (int row = 0; row < rows; row++) {
            int from = at + row * columns;
            int to = oo + 4 * row * columns;
            for (int c = 0; c < columns; c += L) {
                IntVector quads = IntVector.fromArray(I, words, from + c);
                signed(quads.lanewise(VectorOperators.LSHL, 24)).intoArray(out, to + c);
                signed(quads.lanewise(VectorOperators.LSHL, 16)).intoArray(out, to + columns + c);
                signed(quads.lanewise(VectorOperators.LSHL, 8)).intoArray(out, to + 2 * columns + c);
                signed(quads).intoArray(out, to + 3 * columns + c);
            }
        }
    }

    @Override
    public void quadDots(
            float[] x,
            int xo,
            int xs,
            int m,
            int[][] words,
            int[] at,
            float[][] factors,
            int[] fo,
            int k,
            float[] out,
            int oo,
            int os) {
        if (k % 4 != 0) {
            Lanes.super.quadDots(x, xo, xs, m, words, at, factors, fo, k, out, oo, os);
            return;
        }
        for (int column = 0; column < 64; column += 2 * L) {
            int c0 = column / 16;
            int c1 = (column + L) / 16;
            int w0 = at[c0] + column % 16;
            int w1 = at[c1] + (column + L) % 16;
            int f0 = fo[c0] + column % 16;
            int f1 = fo[c1] + (column + L) % 16;
            for (int i = 0; i < m; i += 2) {
                // A last row alone is its own neighbour.
                int next = i + 1 < m ? 1 : 0;
                int to = oo + i * os + column;
                quad2x2(
                        x,
                        xo + i * xs,
                        next * xs,
                        words[c0],
                        w0,
                        factors[c0],
                        f0,
                        words[c1],
                        w1,
                        factors[c1],
                        f1,
                        k,
                        out,
                        to,
                        next * os);
            }
        }
    }

    private static void quad2x2(
            float[] x,
            int xo,
            int xs,
            int[] u0,
            int w0,
            float[] s0,
            int f0,
            int[] u1,
            int w1,
            float[] s1,
            int f1,
            int k,
            float[] out,
            int oo,
            int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, b0 = z, b1 = z;
        for (int d = 0; d < k; d += 4) {
            FloatVector e0 = FloatVector.fromArray(F, s0, f0 + d / KvType.GROUP * 16);
            FloatVector e1 = FloatVector.fromArray(F, s1, f1 + d / KvType.GROUP * 16);
            IntVector v = IntVector.fromArray(I, u0, w0 + 4 * d);
            IntVector w = IntVector.fromArray(I, u1, w1 + 4 * d);
            FloatVector p, q, y;
            p = FloatVector.broadcast(F, x[xo + d]);
            q = FloatVector.broadcast(F, x[xo + xs + d]);
            y = ((FloatVector) v.lanewise(VectorOperators.LSHL, 24)
                            .lanewise(VectorOperators.ASHR, 24)
                            .castShape(F, 0))
                    .mul(e0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = ((FloatVector) w.lanewise(VectorOperators.LSHL, 24)
                            .lanewise(VectorOperators.ASHR, 24)
                            .castShape(F, 0))
                    .mul(e1);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
            p = FloatVector.broadcast(F, x[xo + d + 1]);
            q = FloatVector.broadcast(F, x[xo + xs + d + 1]);
            y = ((FloatVector) v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, 24)
                            .castShape(F, 0))
                    .mul(e0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = ((FloatVector) w.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, 24)
                            .castShape(F, 0))
                    .mul(e1);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
            p = FloatVector.broadcast(F, x[xo + d + 2]);
            q = FloatVector.broadcast(F, x[xo + xs + d + 2]);
            y = ((FloatVector) v.lanewise(VectorOperators.LSHL, 8)
                            .lanewise(VectorOperators.ASHR, 24)
                            .castShape(F, 0))
                    .mul(e0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = ((FloatVector) w.lanewise(VectorOperators.LSHL, 8)
                            .lanewise(VectorOperators.ASHR, 24)
                            .castShape(F, 0))
                    .mul(e1);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
            p = FloatVector.broadcast(F, x[xo + d + 3]);
            q = FloatVector.broadcast(F, x[xo + xs + d + 3]);
            y = ((FloatVector) v.lanewise(VectorOperators.ASHR, 24).castShape(F, 0)).mul(e0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = ((FloatVector) w.lanewise(VectorOperators.ASHR, 24).castShape(F, 0)).mul(e1);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        b0.intoArray(out, oo + os);
        b1.intoArray(out, oo + os + L);
    }

    @Override
    public void quadWeighted(
            float[] p, int po, int ps, int m, int[] words, int at, int ws, int width, float[] out, int oo, int os) {
        int whole = width - width % (2 * L);
        for (int d = 0; d < whole; d += 2 * L) {
            for (int i = 0; i < m; i += 2) {
                int next = i + 1 < m ? 1 : 0;
                quadWeighted2x2(p, po + i * ps, next * ps, words, at + d, ws, out, oo + i * os + d, next * os);
            }
        }
        Lanes.super.quadWeighted(p, po, ps, m, words, at + whole, ws, width - whole, out, oo + whole, os);
    }

    private static void quadWeighted2x2(
            float[] weights, int po, int ps, int[] words, int at, int ws, float[] out, int oo, int os) {
        FloatVector a0 = FloatVector.fromArray(F, out, oo);
        FloatVector a1 = FloatVector.fromArray(F, out, oo + L);
        FloatVector b0 = FloatVector.fromArray(F, out, oo + os);
        FloatVector b1 = FloatVector.fromArray(F, out, oo + os + L);
        for (int j = 0; j < 16; j += 4) {
            IntVector v = IntVector.fromArray(I, words, at + j / 4 * ws);
            IntVector w = IntVector.fromArray(I, words, at + j / 4 * ws + L);
            FloatVector p, q, y;
            p = FloatVector.broadcast(F, weights[po + j]);
            q = FloatVector.broadcast(F, weights[po + ps + j]);
            y = (FloatVector) v.lanewise(VectorOperators.LSHL, 24)
                    .lanewise(VectorOperators.ASHR, 24)
                    .castShape(F, 0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = (FloatVector) w.lanewise(VectorOperators.LSHL, 24)
                    .lanewise(VectorOperators.ASHR, 24)
                    .castShape(F, 0);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
            p = FloatVector.broadcast(F, weights[po + j + 1]);
            q = FloatVector.broadcast(F, weights[po + ps + j + 1]);
            y = (FloatVector) v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, 24)
                    .castShape(F, 0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = (FloatVector) w.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, 24)
                    .castShape(F, 0);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
            p = FloatVector.broadcast(F, weights[po + j + 2]);
            q = FloatVector.broadcast(F, weights[po + ps + j + 2]);
            y = (FloatVector) v.lanewise(VectorOperators.LSHL, 8)
                    .lanewise(VectorOperators.ASHR, 24)
                    .castShape(F, 0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = (FloatVector) w.lanewise(VectorOperators.LSHL, 8)
                    .lanewise(VectorOperators.ASHR, 24)
                    .castShape(F, 0);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
            p = FloatVector.broadcast(F, weights[po + j + 3]);
            q = FloatVector.broadcast(F, weights[po + ps + j + 3]);
            y = (FloatVector) v.lanewise(VectorOperators.ASHR, 24).castShape(F, 0);
            a0 = p.fma(y, a0);
            b0 = q.fma(y, b0);
            y = (FloatVector) w.lanewise(VectorOperators.ASHR, 24).castShape(F, 0);
            a1 = p.fma(y, a1);
            b1 = q.fma(y, b1);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        b0.intoArray(out, oo + os);
        b1.intoArray(out, oo + os + L);
    }

    /** The signed byte at the top of each lane. */
    private static FloatVector signed(IntVector v) {
        return (FloatVector) v.lanewise(VectorOperators.ASHR, 24).castShape(F, 0);
    }
}
