package io.nightmill.kernels;

import io.nightmill.kernels.Panel.Layout;
import io.nightmill.tensor.KvType;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The inner loops of the host backend. Every output value has an accumulator of its own and a fixed order of additions,
 * so it does not matter with which other rows it is computed. {@link VectorLanes} is fast, {@link ScalarLanes} runs
 * where the vector module is missing.
 */
interface Lanes {

    /** What the numerics depend on: implementation and lane count. */
    String name();

    /** Values that one vector holds. */
    int width();

    /** {@code out[i, j] = sum_k x[i, k] w[j, k]} for {@code i < m, j < n}; strides are between rows, in values. */
    void dots(float[] x, int xo, int xs, int m, float[] w, int wo, int ws, int n, int k, float[] out, int oo, int os);

    /**
     * Rows against four blocks of sixteen columns: {@code out[i, 16 c + j] = sum_k x[i, k] w[c][at[c] + 16 k + j]} for
     * {@code i < m, c < 4, j < 16}, each value one chain of multiply-adds in the order of {@code k}.
     */
    void blockDots(float[] x, int xo, int xs, int m, float[][] w, int[] at, int k, float[] out, int oo, int os);

    /** A buffer in another form, if these lanes read that; else null. */
    default @Nullable Object segment(ByteBuffer buffer) {
        return null;
    }

    /** Float32 to bfloat16, to nearest even, from byte {@code at} on. */
    default void toBf16(float[] x, int xo, int n, ByteBuffer out, int at) {
        for (int i = 0; i < n; i++) {
            out.putShort(at + 2 * i, Unpack.toBf16(x[xo + i]));
        }
    }

    /** Largest of the integers that {@link #toIntegers} makes: a high byte of 127 and no low one. */
    float LARGEST = 127 * 128;

    /**
     * A row as integers of fifteen bits, {@code 128 * high + low}: {@code n} high bytes from byte {@code at} on, then the low
     * ones. Returns what one integer stands for.
     */
    default float toIntegers(float[] x, int xo, int n, ByteBuffer out, int at) {
        float inverse = inverse(x, xo, n);
        for (int i = 0; i < n; i++) {
            int value = Math.round(x[xo + i] * inverse);
            int high = value + 64 >> 7;
            out.put(at + i, (byte) high);
            out.put(at + n + i, (byte) (value - (high << 7)));
        }
        return inverse == 0 ? 0 : 1 / inverse;
    }

    /** Integers per unit, or 0 for a row of zeros. */
    static float inverse(float[] x, int xo, int n) {
        float largest = 0;
        for (int i = 0; i < n; i++) {
            largest = Math.max(largest, Math.abs(x[xo + i]));
        }
        return largest == 0 ? 0 : LARGEST / largest;
    }

    /**
     * Codes of four bits to bytes of sixteen outputs, see {@link NativeCodes}.
     *
     * @param at of the block
     * @param lines which 64 bytes of {@code out} each four inputs go to, from {@code first} on
     */
    default void widenCodes(ByteBuffer packed, int at, int groups, ByteBuffer out, int[] lines, int first) {
        for (int g = 0; g < groups; g++) {
            for (int lane = 0; lane < 16; lane++) {
                int scale = packed.get(at + NativeCodes.scales(g) + 4 * lane + (g & 3)) & 0xff;
                for (int k = 0; k < NativeCodes.GROUP; k++) {
                    int word = packed.getInt(at + NativeCodes.group(g) + k / 8 * 64 + 4 * lane);
                    int code = word >>> NativeCodes.shift(k % 8) & 15;
                    out.put(64 * lines[first + 8 * g + k / 4] + 4 * lane + k % 4, NativeCodes.toByte(code, scale));
                }
            }
        }
    }

    /** {@code out[i] = (128 * high[i] + low[i]) * factor * factors[i]}, of sums of {@link #toIntegers}' parts. */
    default void fromIntegers(
            ByteBuffer sums, int high, int low, float factor, float[] factors, int fo, int n, float[] out, int oo) {
        for (int i = 0; i < n; i++) {
            float sum = 128f * sums.getInt(high + 4 * i) + sums.getInt(low + 4 * i);
            out[oo + i] = sum * (factor * factors[fo + i]);
        }
    }

    /**
     * {@link #blockDots} over bfloat16 rows in pairs: word {@code [k / 2, j]} of a block holds the values of {@code k} and
     * {@code k + 1}. The additions are the same.
     */
    default void pairDots(
            float[] x, int xo, int xs, int m, int[][] words, int[] at, int k, float[] out, int oo, int os) {
        float[] wide = new float[4 * 16 * (k + 1)];
        int[] places = new int[4];
        for (int c = 0; c < 4; c++) {
            places[c] = c * 16 * (k + 1);
            widenPairs(words[c], at[c], (k + 1) / 2, 16, wide, places[c]);
        }
        blockDots(x, xo, xs, m, new float[][] {wide, wide, wide, wide}, places, k, out, oo, os);
    }

    /**
     * {@link #blockDots} over signed bytes, four rows to a word, each times the factor of its column in its group of
     * {@link KvType#GROUP} rows. The additions are those of rows that are widened first.
     *
     * @param factors {@code [groups, 16]} of each block, from {@code fo} on
     */
    default void quadDots(
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
        int rows = (k + 3) / 4;
        float[] wide = new float[4 * 64 * rows];
        int[] places = {0, 64 * rows, 128 * rows, 192 * rows};
        for (int c = 0; c < 4; c++) {
            widenQuads(words[c], at[c], rows, 16, wide, places[c]);
            for (int d = 0; d < k; d++) {
                multiply(wide, places[c] + 16 * d, factors[c], fo[c] + d / KvType.GROUP * 16, 16);
            }
        }
        blockDots(x, xo, xs, m, new float[][] {wide, wide, wide, wide}, places, k, out, oo, os);
    }

    /** Whether products of several rows are faster by {@link #tileDots} than by {@link #blockDots}. */
    default boolean tiles() {
        return false;
    }

    /**
     * {@link #blockDots} of rows in {@link RowTiles} against one block: {@code out[4 t + i, j] = sum_k x[t, k, i] w[k, j]} for
     * {@code t < tiles, i < 4, j < 16}. The additions are the same.
     */
    default void tileDots(float[] x, int xo, int tiles, float[] w, int wo, int k, float[] out, int oo, int os) {
        for (int row = 0; row < tiles * RowTiles.ROWS; row++) {
            int from = xo + row / RowTiles.ROWS * RowTiles.ROWS * k + row % RowTiles.ROWS;
            for (int j = 0; j < 16; j++) {
                float sum = 0;
                for (int d = 0; d < k; d++) {
                    sum += x[from + RowTiles.ROWS * d] * w[wo + 16 * d + j];
                }
                out[oo + row * os + j] = sum;
            }
        }
    }

    /** Whether one or two tiles of rows are faster by {@link #panelTile} than by {@link #tileDots}. */
    default boolean panelTiles(Layout layout) {
        return false;
    }

    /**
     * A tile of rows, {@code [in, 4]}, of which the first {@code rows} are asked for, by a panel as it is stored: {@link #panelDots} of each. May
     * write the others' results, and uses their part of {@code out} meanwhile.
     */
    default void panelTile(float[] x, int xo, int rows, Panel panel, float[] factors, float[] out, int oo, int os) {
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < Panel.COLUMNS; column++) {
                float sum = 0;
                for (int d = 0; d < panel.in(); d++) {
                    sum += x[xo + RowTiles.ROWS * d + row] * panel.term(column, d);
                }
                out[oo + row * os + column] = sum;
            }
        }
    }

    /**
     * Outputs of a panel, or the integers that they are multiples of, as blocks {@code [k, 16]} for {@link #blockDots}: as many from {@code first} on
     * as {@link Layout#blocks} says.
     *
     * @param factors the panel's, where they are {@link Layout#factorsApart()}
     */
    default void widenBlocks(Panel panel, int first, float[] factors, float[] out, int oo) {
        for (int j = 0; j < 16 * panel.layout().blocks(); j++) {
            for (int k = 0; k < panel.in(); k++) {
                out[oo + j / 16 * 16 * panel.in() + 16 * k + j % 16] = panel.term(16 * first + j, k);
            }
        }
    }

    /**
     * {@code out[j] = sum_k x[k] w[j, k]} for the panel's 64 outputs, or sums of integers that are to be multiplied by the outputs'
     * factors; the additions are those of {@link #blockDots}.
     *
     * @param factors the panel's, where they are {@link Layout#factorsApart()}
     */
    default void panelDots(float[] x, int xo, Panel panel, float[] factors, float[] out, int oo) {
        for (int column = 0; column < Panel.COLUMNS; column++) {
            float sum = 0;
            for (int k = 0; k < panel.in(); k++) {
                sum += x[xo + k] * panel.term(column, k);
            }
            out[oo + column] = sum;
        }
    }

    /**
     * {@code out[i, d] += sum_j p[i, j] v[j, d]} over four blocks of sixteen bfloat16 rows: word {@code [d / 16, r, d % 16]} of a
     * block holds the values of its rows {@code 2 r} and {@code 2 r + 1}. Each block is a chain of multiply-adds; the blocks
     * are added in pairs. All values must be finite, weighed or not.
     */
    default void pairWeighted(
            float[] p, int po, int ps, int m, int[][] words, int[] at, int width, float[] out, int oo, int os) {
        pairWeighted(p, po, ps, m, words, at, 0, width, out, oo, os);
    }

    /** The same for the columns from {@code first} on, one by one. */
    static void pairWeighted(
            float[] p,
            int po,
            int ps,
            int m,
            int[][] words,
            int[] at,
            int first,
            int width,
            float[] out,
            int oo,
            int os) {
        float[] sums = new float[4];
        for (int i = 0; i < m; i++) {
            for (int d = first; d < width; d++) {
                for (int block = 0; block < 4; block++) {
                    float sum = 0;
                    for (int j = 0; j < 16; j++) {
                        int word = words[block][at[block] + d / 16 * 128 + j / 2 * 16 + d % 16];
                        float value = Float.intBitsToFloat(j % 2 == 0 ? word << 16 : word & 0xffff0000);
                        sum = Math.fma(value, p[po + i * ps + 16 * block + j], sum);
                    }
                    sums[block] = sum;
                }
                out[oo + i * os + d] += (sums[0] + sums[1]) + (sums[2] + sums[3]);
            }
        }
    }

    /** Rows of bfloat16 to float32: word {@code [r, c]} holds the values of the rows {@code 2 r} and {@code 2 r + 1}. */
    default void widenPairs(int[] words, int at, int rows, int columns, float[] out, int oo) {
        for (int i = 0; i < rows * columns; i++) {
            int to = oo + i / columns * 2 * columns + i % columns;
            out[to] = Float.intBitsToFloat(words[at + i] << 16);
            out[to + columns] = Float.intBitsToFloat(words[at + i] & 0xffff0000);
        }
    }

    /** Rows of signed bytes to float32: word {@code [r, c]} holds the values of the rows {@code 4 r .. 4 r + 3}. */
    default void widenQuads(int[] words, int at, int rows, int columns, float[] out, int oo) {
        for (int i = 0; i < rows * columns; i++) {
            int to = oo + i / columns * 4 * columns + i % columns;
            for (int q = 0; q < 4; q++) {
                out[to + q * columns] = words[at + i] << 24 - 8 * q >> 24;
            }
        }
    }

    /**
     * {@link #weighted} over sixteen rows of signed bytes: word {@code [r, d]} of rows {@code ws} words apart holds the values of
     * the rows {@code 4 r .. 4 r + 3}.
     */
    default void quadWeighted(
            float[] p, int po, int ps, int m, int[] words, int at, int ws, int width, float[] out, int oo, int os) {
        for (int i = 0; i < m; i++) {
            for (int d = 0; d < width; d++) {
                float sum = out[oo + i * os + d];
                for (int j = 0; j < 16; j++) {
                    int value = words[at + j / 4 * ws + d] << 24 - 8 * (j % 4) >> 24;
                    sum = Math.fma(p[po + i * ps + j], (float) value, sum);
                }
                out[oo + i * os + d] = sum;
            }
        }
    }

    /** {@code out[i, d] += sum_j p[i, j] v[j, d]} for {@code i < m, j < n, d < width}. */
    void weighted(
            float[] p, int po, int ps, int m, float[] v, int vo, int vs, int n, int width, float[] out, int oo, int os);

    /** {@code x *= y}. */
    default void multiply(float[] x, int xo, float[] y, int yo, int n) {
        for (int d = 0; d < n; d++) {
            x[xo + d] *= y[yo + d];
        }
    }

    /** {@code x *= factor}. */
    default void scale(float[] x, int xo, float factor, int n) {
        for (int d = 0; d < n; d++) {
            x[xo + d] *= factor;
        }
    }

    /** {@code x *= factor}; returns the largest of the results, or negative infinity of none. */
    default float scaledMax(float[] x, int xo, float factor, int n) {
        float max = Float.NEGATIVE_INFINITY;
        for (int d = 0; d < n; d++) {
            x[xo + d] *= factor;
            max = Math.max(max, x[xo + d]);
        }
        return max;
    }

    /** {@code out += x * y}. */
    default void multiplyAdd(float[] x, int xo, float[] y, int yo, float[] out, int oo, int n) {
        for (int d = 0; d < n; d++) {
            out[oo + d] += x[xo + d] * y[yo + d];
        }
    }

    /** {@code s = decay * s + write * x}. */
    default void decayAndWrite(float[] s, int so, float decay, float write, float[] x, int xo, int n) {
        for (int d = 0; d < n; d++) {
            s[so + d] = decay * s[so + d] + write * x[xo + d];
        }
    }

    /** {@code h = exp(dt * a) * h + write * x; out += read * h}: one state of the selective scan. */
    default void selectiveStep(
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
        for (int d = 0; d < n; d++) {
            h[ho + d] = ScalarLanes.exp(dt[to + d] * a[ao + d]) * h[ho + d] + write * x[xo + d];
            out[oo + d] += read * h[ho + d];
        }
    }

    /** Does {@code 8 * width} multiply-adds a round, and nothing else: the machine's arithmetic limit. */
    float multiplyAdds(int rounds);

    float sumOfSquares(float[] x, int xo, int n);

    /** {@code s = exp(s - max)} in place; returns the sum. */
    float expSum(float[] s, int so, int n, float max);

    void activate(Activation activation, float[] x, int xo, float[] out, int oo, int n);

    /** The fastest lanes of this JVM; says loudly when they are the scalar ones. */
    static Lanes best() {
        Logger log = LoggerFactory.getLogger(Lanes.class);
        if (ModuleLayer.boot().findModule("jdk.incubator.vector").isEmpty()) {
            log.warn(
                    "SCALAR KERNELS: the module jdk.incubator.vector is not loaded, so products run about ten times"
                            + " slower. Add '--add-modules jdk.incubator.vector' to the JVM's options (Spark 4 does so itself).");
            return new ScalarLanes();
        }
        Optional<Lanes> vector = VectorLanes.ifWide();
        if (vector.isEmpty()) {
            log.warn("SCALAR KERNELS: this CPU offers the JVM fewer than 4 float lanes.");
        }
        return vector.orElseGet(ScalarLanes::new);
    }
}
