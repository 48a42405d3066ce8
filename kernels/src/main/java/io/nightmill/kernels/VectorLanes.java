package io.nightmill.kernels;

import io.nightmill.kernels.Panel.Layout;
import java.nio.ByteBuffer;
import java.util.Optional;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/**
 * SIMD loops through the Vector API. Only lane-wise operations with exact semantics are used: {@code reduceLanes} may differ between
 * interpreter and compiler, so sums fold lanes in a fixed order.
 */
final class VectorLanes extends VectorPages {
    private static final VectorSpecies<Float> F = Species.FLOATS;
    private static final int L = F.length();
    /** Whether sixteen accumulators fit in registers: not in AVX2's. */
    private static final boolean FOUR_BY_FOUR = L != 8;

    private VectorLanes() {}

    static Optional<Lanes> ifWide() {
        return L >= 4 && L <= 16 ? Optional.of(new VectorLanes()) : Optional.empty();
    }

    @Override
    public String name() {
        return "vector-" + F.vectorBitSize();
    }

    @Override
    public int width() {
        return L;
    }

    @Override
    public void dots(
            float[] x, int xo, int xs, int m, float[] w, int wo, int ws, int n, int k, float[] out, int oo, int os) {
        float[] sums = new float[m < 4 ? 0 : 16 * L];
        int j = 0;
        for (; j + 4 <= n; j += 4) {
            int i = 0;
            for (; i + 4 <= m; i += 4) {
                dots4x4(x, xo + i * xs, xs, w, wo + j * ws, ws, k, out, oo + i * os + j, os, sums);
            }
            for (; i < m; i++) {
                dots1x4(x, xo + i * xs, w, wo + j * ws, ws, k, out, oo + i * os + j);
            }
        }
        for (; j < n; j++) {
            for (int i = 0; i < m; i++) {
                out[oo + i * os + j] = dot(x, xo + i * xs, w, wo + j * ws, k);
            }
        }
    }

    private static float tail(float sum, float[] x, int xo, float[] w, int wo, int from, int k) {
        float total = sum;
        for (int d = from; d < k; d++) {
            total = Math.fma(x[xo + d], w[wo + d], total);
        }
        return total;
    }

    private static float dot(float[] x, int xo, float[] w, int wo, int k) {
        FloatVector sum = FloatVector.zero(F);
        int d = 0;
        for (; d + L <= k; d += L) {
            sum = FloatVector.fromArray(F, x, xo + d).fma(FloatVector.fromArray(F, w, wo + d), sum);
        }
        return tail(fold(sum.toArray(), 0), x, xo, w, wo, d, k);
    }

    private static void dots1x4(float[] x, int xo, float[] w, int wo, int ws, int k, float[] out, int oo) {
        FloatVector s0 = FloatVector.zero(F);
        FloatVector s1 = s0;
        FloatVector s2 = s0;
        FloatVector s3 = s0;
        int d = 0;
        for (; d + L <= k; d += L) {
            FloatVector v = FloatVector.fromArray(F, x, xo + d);
            s0 = v.fma(FloatVector.fromArray(F, w, wo + d), s0);
            s1 = v.fma(FloatVector.fromArray(F, w, wo + ws + d), s1);
            s2 = v.fma(FloatVector.fromArray(F, w, wo + 2 * ws + d), s2);
            s3 = v.fma(FloatVector.fromArray(F, w, wo + 3 * ws + d), s3);
        }
        out[oo] = tail(fold(s0.toArray(), 0), x, xo, w, wo, d, k);
        out[oo + 1] = tail(fold(s1.toArray(), 0), x, xo, w, wo + ws, d, k);
        out[oo + 2] = tail(fold(s2.toArray(), 0), x, xo, w, wo + 2 * ws, d, k);
        out[oo + 3] = tail(fold(s3.toArray(), 0), x, xo, w, wo + 3 * ws, d, k);
    }

    private static void dots4x4(
            float[] x, int xo, int xs, float[] w, int wo, int ws, int k, float[] out, int oo, int os, float[] sums) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        FloatVector b0 = z, b1 = z, b2 = z, b3 = z;
        FloatVector c0 = z, c1 = z, c2 = z, c3 = z;
        FloatVector d0 = z, d1 = z, d2 = z, d3 = z;
        int p = 0;
        for (; p + L <= k; p += L) {
            FloatVector w0 = FloatVector.fromArray(F, w, wo + p);
            FloatVector w1 = FloatVector.fromArray(F, w, wo + ws + p);
            FloatVector w2 = FloatVector.fromArray(F, w, wo + 2 * ws + p);
            FloatVector w3 = FloatVector.fromArray(F, w, wo + 3 * ws + p);
            FloatVector v = FloatVector.fromArray(F, x, xo + p);
            a0 = v.fma(w0, a0);
            a1 = v.fma(w1, a1);
            a2 = v.fma(w2, a2);
            a3 = v.fma(w3, a3);
            v = FloatVector.fromArray(F, x, xo + xs + p);
            b0 = v.fma(w0, b0);
            b1 = v.fma(w1, b1);
            b2 = v.fma(w2, b2);
            b3 = v.fma(w3, b3);
            v = FloatVector.fromArray(F, x, xo + 2 * xs + p);
            c0 = v.fma(w0, c0);
            c1 = v.fma(w1, c1);
            c2 = v.fma(w2, c2);
            c3 = v.fma(w3, c3);
            v = FloatVector.fromArray(F, x, xo + 3 * xs + p);
            d0 = v.fma(w0, d0);
            d1 = v.fma(w1, d1);
            d2 = v.fma(w2, d2);
            d3 = v.fma(w3, d3);
        }
        a0.intoArray(sums, 0);
        a1.intoArray(sums, L);
        a2.intoArray(sums, 2 * L);
        a3.intoArray(sums, 3 * L);
        b0.intoArray(sums, 4 * L);
        b1.intoArray(sums, 4 * L + L);
        b2.intoArray(sums, 4 * L + 2 * L);
        b3.intoArray(sums, 4 * L + 3 * L);
        c0.intoArray(sums, 8 * L);
        c1.intoArray(sums, 8 * L + L);
        c2.intoArray(sums, 8 * L + 2 * L);
        c3.intoArray(sums, 8 * L + 3 * L);
        d0.intoArray(sums, 12 * L);
        d1.intoArray(sums, 12 * L + L);
        d2.intoArray(sums, 12 * L + 2 * L);
        d3.intoArray(sums, 12 * L + 3 * L);
        for (int i = 0; i < 16; i++) {
            int row = i >> 2;
            int column = i & 3;
            out[oo + row * os + column] = tail(fold(sums, i * L), x, xo + row * xs, w, wo + column * ws, p, k);
        }
    }

    /**
     * The sum of {@code L} values, halves first: always the same order. No method of ours takes a vector outside of a loop: C2 may leave
     * such a call alone, and then boxes what the loop before it adds up.
     */
    private static float fold(float[] sums, int at) {
        for (int half = L / 2; half > 0; half /= 2) {
            for (int l = at; l < at + half; l++) {
                sums[l] += sums[l + half];
            }
        }
        return sums[at];
    }

    @Override
    public float multiplyAdds(int rounds) {
        FloatVector x = FloatVector.broadcast(F, 0.999f);
        FloatVector a = FloatVector.broadcast(F, 1f);
        FloatVector b = a.add(1f),
                c = a.add(2f),
                d = a.add(3f),
                e = a.add(4f),
                f = a.add(5f),
                g = a.add(6f),
                h = a.add(7f);
        for (int i = 0; i < rounds; i++) {
            a = a.fma(x, x);
            b = b.fma(x, x);
            c = c.fma(x, x);
            d = d.fma(x, x);
            e = e.fma(x, x);
            f = f.fma(x, x);
            g = g.fma(x, x);
            h = h.fma(x, x);
        }
        float[] sums = new float[L];
        a.add(b).add(c).add(d).add(e).add(f).add(g).add(h).intoArray(sums, 0);
        return fold(sums, 0);
    }

    /** Four vectors of columns at a time; a vector is all or part of a block. */
    @Override
    public void blockDots(float[] x, int xo, int xs, int m, float[][] w, int[] at, int k, float[] out, int oo, int os) {
        for (int column = 0; column < 64; column += 4 * L) {
            float[] u0 = w[column / 16];
            float[] u1 = w[(column + L) / 16];
            float[] u2 = w[(column + 2 * L) / 16];
            float[] u3 = w[(column + 3 * L) / 16];
            int w0 = at[column / 16] + column % 16;
            int w1 = at[(column + L) / 16] + (column + L) % 16;
            int w2 = at[(column + 2 * L) / 16] + (column + 2 * L) % 16;
            int w3 = at[(column + 3 * L) / 16] + (column + 3 * L) % 16;
            int i = 0;
            for (; FOUR_BY_FOUR && i + 4 <= m; i += 4) {
                block4x4(x, xo + i * xs, xs, u0, w0, u1, w1, u2, w2, u3, w3, k, out, oo + i * os + column, os);
            }
            for (; i + 2 <= m; i += 2) {
                block2x4(x, xo + i * xs, xs, u0, w0, u1, w1, u2, w2, u3, w3, k, out, oo + i * os + column, os);
            }
            if (i < m) {
                block1x4(x, xo + i * xs, u0, w0, u1, w1, u2, w2, u3, w3, k, out, oo + i * os + column);
            }
        }
    }

    private static void block4x4(
            float[] x,
            int xo,
            int xs,
            float[] u0,
            int w0,
            float[] u1,
            int w1,
            float[] u2,
            int w2,
            float[] u3,
            int w3,
            int k,
            float[] out,
            int oo,
            int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        FloatVector b0 = z, b1 = z, b2 = z, b3 = z;
        FloatVector c0 = z, c1 = z, c2 = z, c3 = z;
        FloatVector d0 = z, d1 = z, d2 = z, d3 = z;
        for (int d = 0; d < k; d++) {
            FloatVector v0 = FloatVector.fromArray(F, u0, w0 + 16 * d);
            FloatVector v1 = FloatVector.fromArray(F, u1, w1 + 16 * d);
            FloatVector v2 = FloatVector.fromArray(F, u2, w2 + 16 * d);
            FloatVector v3 = FloatVector.fromArray(F, u3, w3 + 16 * d);
            FloatVector q = FloatVector.broadcast(F, x[xo + d]);
            a0 = q.fma(v0, a0);
            a1 = q.fma(v1, a1);
            a2 = q.fma(v2, a2);
            a3 = q.fma(v3, a3);
            q = FloatVector.broadcast(F, x[xo + xs + d]);
            b0 = q.fma(v0, b0);
            b1 = q.fma(v1, b1);
            b2 = q.fma(v2, b2);
            b3 = q.fma(v3, b3);
            q = FloatVector.broadcast(F, x[xo + 2 * xs + d]);
            c0 = q.fma(v0, c0);
            c1 = q.fma(v1, c1);
            c2 = q.fma(v2, c2);
            c3 = q.fma(v3, c3);
            q = FloatVector.broadcast(F, x[xo + 3 * xs + d]);
            d0 = q.fma(v0, d0);
            d1 = q.fma(v1, d1);
            d2 = q.fma(v2, d2);
            d3 = q.fma(v3, d3);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
        b0.intoArray(out, oo + os);
        b1.intoArray(out, oo + os + L);
        b2.intoArray(out, oo + os + 2 * L);
        b3.intoArray(out, oo + os + 3 * L);
        c0.intoArray(out, oo + 2 * os);
        c1.intoArray(out, oo + 2 * os + L);
        c2.intoArray(out, oo + 2 * os + 2 * L);
        c3.intoArray(out, oo + 2 * os + 3 * L);
        d0.intoArray(out, oo + 3 * os);
        d1.intoArray(out, oo + 3 * os + L);
        d2.intoArray(out, oo + 3 * os + 2 * L);
        d3.intoArray(out, oo + 3 * os + 3 * L);
    }

    private static void block2x4(
            float[] x,
            int xo,
            int xs,
            float[] u0,
            int w0,
            float[] u1,
            int w1,
            float[] u2,
            int w2,
            float[] u3,
            int w3,
            int k,
            float[] out,
            int oo,
            int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        FloatVector b0 = z, b1 = z, b2 = z, b3 = z;
        for (int d = 0; d < k; d++) {
            FloatVector p = FloatVector.broadcast(F, x[xo + d]);
            FloatVector q = FloatVector.broadcast(F, x[xo + xs + d]);
            FloatVector v = FloatVector.fromArray(F, u0, w0 + 16 * d);
            a0 = p.fma(v, a0);
            b0 = q.fma(v, b0);
            v = FloatVector.fromArray(F, u1, w1 + 16 * d);
            a1 = p.fma(v, a1);
            b1 = q.fma(v, b1);
            v = FloatVector.fromArray(F, u2, w2 + 16 * d);
            a2 = p.fma(v, a2);
            b2 = q.fma(v, b2);
            v = FloatVector.fromArray(F, u3, w3 + 16 * d);
            a3 = p.fma(v, a3);
            b3 = q.fma(v, b3);
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

    private static void block1x4(
            float[] x,
            int xo,
            float[] u0,
            int w0,
            float[] u1,
            int w1,
            float[] u2,
            int w2,
            float[] u3,
            int w3,
            int k,
            float[] out,
            int oo) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, a2 = z, a3 = z;
        for (int d = 0; d < k; d++) {
            FloatVector q = FloatVector.broadcast(F, x[xo + d]);
            a0 = q.fma(FloatVector.fromArray(F, u0, w0 + 16 * d), a0);
            a1 = q.fma(FloatVector.fromArray(F, u1, w1 + 16 * d), a1);
            a2 = q.fma(FloatVector.fromArray(F, u2, w2 + 16 * d), a2);
            a3 = q.fma(FloatVector.fromArray(F, u3, w3 + 16 * d), a3);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
    }

    @Override
    public @Nullable Object segment(ByteBuffer buffer) {
        return VectorMemory.segment(buffer);
    }

    @Override
    public void toBf16(float[] x, int xo, int n, ByteBuffer out, int at) {
        int whole = L > 4 ? n - n % L : 0;
        VectorRounding.toBf16(x, xo, whole, out, VectorMemory.segment(out), at);
        super.toBf16(x, xo + whole, n - whole, out, at + 2 * whole);
    }

    @Override
    public float toIntegers(float[] x, int xo, int n, ByteBuffer out, int at) {
        if (L < 8 || n % L != 0) {
            return super.toIntegers(x, xo, n, out, at);
        }
        return VectorRounding.toIntegers(x, xo, n, out, VectorMemory.segment(out), at);
    }

    @Override
    public void widenCodes(ByteBuffer packed, int at, int groups, ByteBuffer out, int[] lines, int first) {
        if (L != 16) {
            super.widenCodes(packed, at, groups, out, lines, first);
            return;
        }
        try {
            VectorRounding.widenCodes(
                    packed, VectorMemory.segment(packed), at, groups, out, VectorMemory.segment(out), lines, first);
        } catch (Throwable e) {
            throw VectorMemory.failure(e);
        }
    }

    @Override
    public void fromIntegers(
            ByteBuffer sums, int high, int low, float factor, float[] factors, int fo, int n, float[] out, int oo) {
        int whole = n - n % L;
        VectorRounding.fromIntegers(sums, VectorMemory.segment(sums), high, low, factor, factors, fo, whole, out, oo);
        super.fromIntegers(
                sums, high + 4 * whole, low + 4 * whole, factor, factors, fo + whole, n - whole, out, oo + whole);
    }

    @Override
    public void panelDots(float[] x, int xo, Panel panel, float[] factors, float[] out, int oo) {
        VectorPanels.dots(x, xo, panel, factors, out, oo);
    }

    @Override
    public void widenBlocks(Panel panel, int first, float[] factors, float[] out, int oo) {
        VectorPanels.widen(panel, first, factors, out, oo);
    }

    @Override
    public boolean panelTiles(Layout layout) {
        return tiles() && (layout == Layout.INTEGERS || layout == Layout.PAIRS || layout == Layout.SIGNED_NIBBLES);
    }

    @Override
    public void panelTile(float[] x, int xo, int rows, Panel panel, float[] factors, float[] out, int oo, int os) {
        VectorPanels.tile(x, xo, rows, panel, factors, out, oo, os);
    }

    /** Two vectors are a block; with fewer registers than AVX-512 has, four by four accumulators do not fit. */
    @Override
    public boolean tiles() {
        return L == 8;
    }

    @Override
    public void tileDots(float[] x, int xo, int tiles, float[] w, int wo, int k, float[] out, int oo, int os) {
        if (!tiles()) {
            super.tileDots(x, xo, tiles, w, wo, k, out, oo, os);
            return;
        }
        for (int t = 0; t < tiles; t++) {
            tile4x2(x, xo + 4 * t * k, w, wo, k, out, oo + 4 * t * os, os);
        }
    }

    /**
     * Eight chains and the fourteen registers that they take: C2 loads all that a round needs before it begins. It counts by what addresses
     * {@code x}, which leaves 22 instructions for the eight multiply-adds, not 31.
     */
    private static void tile4x2(float[] x, int xo, float[] w, int wo, int k, float[] out, int oo, int os) {
        FloatVector z = FloatVector.zero(F);
        FloatVector a0 = z, a1 = z, b0 = z, b1 = z, c0 = z, c1 = z, d0 = z, d1 = z;
        for (int i = xo; i < xo + 4 * k; i += 4) {
            FloatVector v0 = FloatVector.fromArray(F, w, wo + 4 * (i - xo));
            FloatVector v1 = FloatVector.fromArray(F, w, wo + 4 * (i - xo) + L);
            FloatVector q = FloatVector.broadcast(F, x[i]);
            a0 = q.fma(v0, a0);
            a1 = q.fma(v1, a1);
            q = FloatVector.broadcast(F, x[i + 1]);
            b0 = q.fma(v0, b0);
            b1 = q.fma(v1, b1);
            q = FloatVector.broadcast(F, x[i + 2]);
            c0 = q.fma(v0, c0);
            c1 = q.fma(v1, c1);
            q = FloatVector.broadcast(F, x[i + 3]);
            d0 = q.fma(v0, d0);
            d1 = q.fma(v1, d1);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        b0.intoArray(out, oo + os);
        b1.intoArray(out, oo + os + L);
        c0.intoArray(out, oo + 2 * os);
        c1.intoArray(out, oo + 2 * os + L);
        d0.intoArray(out, oo + 3 * os);
        d1.intoArray(out, oo + 3 * os + L);
    }

    @Override
    public void weighted(
            float[] p,
            int po,
            int ps,
            int m,
            float[] v,
            int vo,
            int vs,
            int n,
            int width,
            float[] out,
            int oo,
            int os) {
        // However it is tiled, an output is one chain of multiply-adds in the order of j.
        int d = 0;
        for (; d + 4 * L <= width; d += 4 * L) {
            int i = 0;
            for (; FOUR_BY_FOUR && i + 4 <= m; i += 4) {
                weighted4x4(p, po + i * ps, ps, v, vo + d, vs, n, out, oo + i * os + d, os);
            }
            for (; i + 2 <= m; i += 2) {
                weighted2x4(p, po + i * ps, ps, v, vo + d, vs, 2 * L, n, out, oo + i * os + d, os);
            }
            for (; i < m; i++) {
                weighted1x4(p, po + i * ps, v, vo + d, vs, n, out, oo + i * os + d);
            }
        }
        for (; d + L <= width; d += L) {
            int i = 0;
            for (; i + 4 <= m; i += 4) {
                weighted4x1(p, po + i * ps, ps, v, vo + d, vs, n, out, oo + i * os + d, os);
            }
            for (; i < m; i++) {
                FloatVector sum = FloatVector.fromArray(F, out, oo + i * os + d);
                for (int j = 0; j < n; j++) {
                    sum = FloatVector.broadcast(F, p[po + i * ps + j])
                            .fma(FloatVector.fromArray(F, v, vo + j * vs + d), sum);
                }
                sum.intoArray(out, oo + i * os + d);
            }
        }
        for (; d < width; d++) {
            for (int i = 0; i < m; i++) {
                float sum = out[oo + i * os + d];
                for (int j = 0; j < n; j++) {
                    sum = Math.fma(p[po + i * ps + j], v[vo + j * vs + d], sum);
                }
                out[oo + i * os + d] = sum;
            }
        }
    }

    private static void weighted1x4(float[] p, int po, float[] v, int vo, int vs, int n, float[] out, int oo) {
        FloatVector s0 = FloatVector.fromArray(F, out, oo);
        FloatVector s1 = FloatVector.fromArray(F, out, oo + L);
        FloatVector s2 = FloatVector.fromArray(F, out, oo + 2 * L);
        FloatVector s3 = FloatVector.fromArray(F, out, oo + 3 * L);
        for (int j = 0; j < n; j++) {
            FloatVector w = FloatVector.broadcast(F, p[po + j]);
            int row = vo + j * vs;
            s0 = w.fma(FloatVector.fromArray(F, v, row), s0);
            s1 = w.fma(FloatVector.fromArray(F, v, row + L), s1);
            s2 = w.fma(FloatVector.fromArray(F, v, row + 2 * L), s2);
            s3 = w.fma(FloatVector.fromArray(F, v, row + 3 * L), s3);
        }
        s0.intoArray(out, oo);
        s1.intoArray(out, oo + L);
        s2.intoArray(out, oo + 2 * L);
        s3.intoArray(out, oo + 3 * L);
    }

    private static void weighted4x4(
            float[] p, int po, int ps, float[] v, int vo, int vs, int n, float[] out, int oo, int os) {
        FloatVector a0 = FloatVector.fromArray(F, out, oo);
        FloatVector a1 = FloatVector.fromArray(F, out, oo + L);
        FloatVector a2 = FloatVector.fromArray(F, out, oo + 2 * L);
        FloatVector a3 = FloatVector.fromArray(F, out, oo + 3 * L);
        FloatVector b0 = FloatVector.fromArray(F, out, oo + os);
        FloatVector b1 = FloatVector.fromArray(F, out, oo + os + L);
        FloatVector b2 = FloatVector.fromArray(F, out, oo + os + 2 * L);
        FloatVector b3 = FloatVector.fromArray(F, out, oo + os + 3 * L);
        FloatVector c0 = FloatVector.fromArray(F, out, oo + 2 * os);
        FloatVector c1 = FloatVector.fromArray(F, out, oo + 2 * os + L);
        FloatVector c2 = FloatVector.fromArray(F, out, oo + 2 * os + 2 * L);
        FloatVector c3 = FloatVector.fromArray(F, out, oo + 2 * os + 3 * L);
        FloatVector d0 = FloatVector.fromArray(F, out, oo + 3 * os);
        FloatVector d1 = FloatVector.fromArray(F, out, oo + 3 * os + L);
        FloatVector d2 = FloatVector.fromArray(F, out, oo + 3 * os + 2 * L);
        FloatVector d3 = FloatVector.fromArray(F, out, oo + 3 * os + 3 * L);
        for (int j = 0; j < n; j++) {
            int row = vo + j * vs;
            FloatVector v0 = FloatVector.fromArray(F, v, row);
            FloatVector v1 = FloatVector.fromArray(F, v, row + L);
            FloatVector v2 = FloatVector.fromArray(F, v, row + 2 * L);
            FloatVector v3 = FloatVector.fromArray(F, v, row + 3 * L);
            FloatVector w = FloatVector.broadcast(F, p[po + j]);
            a0 = w.fma(v0, a0);
            a1 = w.fma(v1, a1);
            a2 = w.fma(v2, a2);
            a3 = w.fma(v3, a3);
            w = FloatVector.broadcast(F, p[po + ps + j]);
            b0 = w.fma(v0, b0);
            b1 = w.fma(v1, b1);
            b2 = w.fma(v2, b2);
            b3 = w.fma(v3, b3);
            w = FloatVector.broadcast(F, p[po + 2 * ps + j]);
            c0 = w.fma(v0, c0);
            c1 = w.fma(v1, c1);
            c2 = w.fma(v2, c2);
            c3 = w.fma(v3, c3);
            w = FloatVector.broadcast(F, p[po + 3 * ps + j]);
            d0 = w.fma(v0, d0);
            d1 = w.fma(v1, d1);
            d2 = w.fma(v2, d2);
            d3 = w.fma(v3, d3);
        }
        a0.intoArray(out, oo);
        a1.intoArray(out, oo + L);
        a2.intoArray(out, oo + 2 * L);
        a3.intoArray(out, oo + 3 * L);
        b0.intoArray(out, oo + os);
        b1.intoArray(out, oo + os + L);
        b2.intoArray(out, oo + os + 2 * L);
        b3.intoArray(out, oo + os + 3 * L);
        c0.intoArray(out, oo + 2 * os);
        c1.intoArray(out, oo + 2 * os + L);
        c2.intoArray(out, oo + 2 * os + 2 * L);
        c3.intoArray(out, oo + 2 * os + 3 * L);
        d0.intoArray(out, oo + 3 * os);
        d1.intoArray(out, oo + 3 * os + L);
        d2.intoArray(out, oo + 3 * os + 2 * L);
        d3.intoArray(out, oo + 3 * os + 3 * L);
    }

    private static void weighted4x1(
            float[] p, int po, int ps, float[] v, int vo, int vs, int n, float[] out, int oo, int os) {
        FloatVector a = FloatVector.fromArray(F, out, oo);
        FloatVector b = FloatVector.fromArray(F, out, oo + os);
        FloatVector c = FloatVector.fromArray(F, out, oo + 2 * os);
        FloatVector d = FloatVector.fromArray(F, out, oo + 3 * os);
        for (int j = 0; j < n; j++) {
            FloatVector row = FloatVector.fromArray(F, v, vo + j * vs);
            a = FloatVector.broadcast(F, p[po + j]).fma(row, a);
            b = FloatVector.broadcast(F, p[po + ps + j]).fma(row, b);
            c = FloatVector.broadcast(F, p[po + 2 * ps + j]).fma(row, c);
            d = FloatVector.broadcast(F, p[po + 3 * ps + j]).fma(row, d);
        }
        a.intoArray(out, oo);
        b.intoArray(out, oo + os);
        c.intoArray(out, oo + 2 * os);
        d.intoArray(out, oo + 3 * os);
    }

    @Override
    public void multiply(float[] x, int xo, float[] y, int yo, int n) {
        int d = 0;
        for (; d + L <= n; d += L) {
            FloatVector.fromArray(F, x, xo + d)
                    .mul(FloatVector.fromArray(F, y, yo + d))
                    .intoArray(x, xo + d);
        }
        super.multiply(x, xo + d, y, yo + d, n - d);
    }

    @Override
    public void scale(float[] x, int xo, float factor, int n) {
        int d = 0;
        for (; d + L <= n; d += L) {
            FloatVector.fromArray(F, x, xo + d).mul(factor).intoArray(x, xo + d);
        }
        super.scale(x, xo + d, factor, n - d);
    }

    @Override
    public float scaledMax(float[] x, int xo, float factor, int n) {
        FloatVector largest = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
        int d = 0;
        for (; d + L <= n; d += L) {
            FloatVector scaled = FloatVector.fromArray(F, x, xo + d).mul(factor);
            scaled.intoArray(x, xo + d);
            largest = largest.max(scaled);
        }
        // A maximum is the same in any order.
        return Math.max(super.scaledMax(x, xo + d, factor, n - d), largest.reduceLanes(VectorOperators.MAX));
    }

    @Override
    public void multiplyAdd(float[] x, int xo, float[] y, int yo, float[] out, int oo, int n) {
        int d = 0;
        for (; d + L <= n; d += L) {
            FloatVector.fromArray(F, x, xo + d)
                    .fma(FloatVector.fromArray(F, y, yo + d), FloatVector.fromArray(F, out, oo + d))
                    .intoArray(out, oo + d);
        }
        for (; d < n; d++) {
            out[oo + d] = Math.fma(x[xo + d], y[yo + d], out[oo + d]);
        }
    }

    @Override
    public void decayAndWrite(float[] s, int so, float decay, float write, float[] x, int xo, int n) {
        int d = 0;
        for (; d + L <= n; d += L) {
            FloatVector kept = FloatVector.fromArray(F, s, so + d).mul(decay);
            FloatVector.broadcast(F, write)
                    .fma(FloatVector.fromArray(F, x, xo + d), kept)
                    .intoArray(s, so + d);
        }
        for (; d < n; d++) {
            s[so + d] = Math.fma(write, x[xo + d], decay * s[so + d]);
        }
    }

    @Override
    public void selectiveStep(
            float[] h,
            int ho,
            float[] dt,
            int to,
            float[] a,
            int ao,
            float write,
            float[] x,
            int xo,
            float read,
            float[] out,
            int oo,
            int n) {
        int d = n - n % L;
        VectorFunctions.selectiveStep(h, ho, dt, to, a, ao, write, x, xo, read, out, oo, d);
        super.selectiveStep(h, ho + d, dt, to + d, a, ao + d, write, x, xo + d, read, out, oo + d, n - d);
    }

    @Override
    public float sumOfSquares(float[] x, int xo, int n) {
        return dot(x, xo, x, xo, n);
    }

    @Override
    public float expSum(float[] s, int so, int n, float max) {
        float[] sums = VectorFunctions.SUMS.get();
        int i = n - n % L;
        VectorFunctions.exp(s, so, i, max, sums);
        float total = fold(sums, 0);
        for (; i < n; i++) {
            s[so + i] = ScalarLanes.exp(s[so + i] - max);
            total += s[so + i];
        }
        return total;
    }

    @Override
    public void activate(Activation activation, float[] x, int xo, float[] out, int oo, int n) {
        VectorFunctions.activate(activation, x, xo, out, oo, n);
    }
}
