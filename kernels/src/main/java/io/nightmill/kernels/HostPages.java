package io.nightmill.kernels;

import static io.nightmill.tensor.Batch.PAGE_TOKENS;

import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;

/**
 * The pages of one layer's keys or values. A head's part of a page lies together: keys as {@code [headWidth, 16]}, so that a
 * query meets sixteen tokens in one vector and no sum goes across lanes; values as {@code [16, headWidth]}. Narrow types put
 * two or four rows of that into one row of words, which widen by shifts.
 */
final class HostPages implements Buffer {
    /** So many rows meet bfloat16 in registers; for more, it is widened to the first-level cache once. */
    private static final int FEW = 4;

    private final Paged spec;
    private final KvType type;
    private final boolean across;
    /** Values that a word holds. */
    private final int packed;
    /** A head's part of a page: rows of words, and words in a row. */
    private final int wordRows;

    private final int columns;
    private final float[] floats;
    private final int[] words;
    /** {@code [pages, heads, groups, 16]}. */
    private final float[] factors;

    HostPages(Paged spec, int rows, KvType type) {
        this.spec = spec;
        this.type = type;
        this.across = spec.role() == Role.KEYS;
        this.packed = type == KvType.F32 ? 1 : type == KvType.BF16 ? 2 : 4;
        int valueRows = across ? spec.headWidth() : PAGE_TOKENS;
        this.wordRows = (valueRows + packed - 1) / packed;
        this.columns = across ? PAGE_TOKENS : spec.headWidth();
        int heads = rows / PAGE_TOKENS * spec.heads();
        int size = Math.multiplyExact(heads, wordRows * columns);
        this.floats = new float[type == KvType.F32 ? size : 0];
        this.words = new int[type == KvType.F32 ? 0 : size];
        this.factors = new float[type == KvType.INT8 ? heads * groups() * PAGE_TOKENS : 0];
    }

    @Override
    public long size() {
        return (long) packed * (floats.length + words.length);
    }

    private int groups() {
        return KvType.groups(spec.headWidth());
    }

    /** First word of a head's part of a page. */
    private int at(int page, int head) {
        return (page * spec.heads() + head) * wordRows * columns;
    }

    private int factorsAt(int page, int head) {
        return (page * spec.heads() + head) * PAGE_TOKENS * groups();
    }

    /** Writes a token's row to place {@code slot} of a page. */
    void append(int page, int slot, float[] row, int ro) {
        int width = spec.headWidth();
        for (int head = 0; head < spec.heads(); head++) {
            int to = at(page, head);
            int from = ro + head * width;
            float factor = 0;
            for (int d = 0; d < width; d++) {
                float value = row[from + d];
                int place = across ? d : slot;
                int word = to + place / packed * columns + (across ? slot : d);
                if (type == KvType.F32) {
                    floats[word] = value;
                } else if (type == KvType.BF16) {
                    int bits = Unpack.toBf16(value) & 0xffff;
                    // The first of a pair leaves a zero for the second, in place of what was there before.
                    words[word] = place % 2 == 0 ? bits : words[word] & 0xffff | bits << 16;
                } else {
                    if (d % KvType.GROUP == 0) {
                        factor = factor(row, from + d, from + Math.min(width, d + KvType.GROUP));
                        factors[factorsAt(page, head) + d / KvType.GROUP * PAGE_TOKENS + slot] = factor;
                    }
                    int shift = 8 * (place % 4);
                    words[word] = words[word] & ~(0xff << shift) | (quantize(value, factor) & 0xff) << shift;
                }
            }
        }
    }

    /** What one step of the values' bytes stands for. */
    static float factor(float[] x, int from, int to) {
        float largest = 0;
        for (int i = from; i < to; i++) {
            largest = Math.max(largest, Math.abs(x[i]));
        }
        return largest / 127;
    }

    static byte quantize(float value, float factor) {
        return factor == 0 ? 0 : (byte) Math.rint(value / factor);
    }

    void copy(int from, int to, int count) {
        int size = at(1, 0);
        if (type == KvType.F32) {
            System.arraycopy(floats, from * size, floats, to * size, count * size);
        } else {
            System.arraycopy(words, from * size, words, to * size, count * size);
        }
        if (type == KvType.INT8) {
            int scales = factorsAt(1, 0);
            System.arraycopy(factors, from * scales, factors, to * scales, count * scales);
        }
    }

    /** float32 that a thread widens pages into. */
    static final class Widened {
        private float[] pages = new float[0];
        private float[] turned = new float[0];

        private void reserve(int size) {
            if (pages.length < size) {
                pages = new float[size];
                turned = new float[size];
            }
        }
    }

    /**
     * {@code scores[i, 16 p + j] = query[i] . key[p, j]} for up to four pages; the columns of missing ones are undefined.
     *
     * @param query {@code [count, headWidth]} from {@code qo} on
     * @param scores {@code [count, 64]}
     */
    void dots(int[] page, int head, float[] query, int qo, int count, float[] scores, Lanes lanes, Widened widened) {
        int width = spec.headWidth();
        if (across && type == KvType.F32) {
            lanes.blockDots(query, qo, width, count, floats, places(page, head), width, scores, 0, 64);
        } else if (across && type == KvType.BF16 && count <= FEW) {
            lanes.pairDots(query, qo, width, count, words, places(page, head), width, scores, 0, 64);
        } else {
            int[] at = new int[4];
            int size = wordRows * packed * columns;
            widened.reserve(4 * size);
            for (int p = 0; p < 4; p++) {
                at[p] = Math.min(p, page.length - 1) * size;
                if (p < page.length) {
                    keys(page[p], head, lanes, widened, at[p]);
                }
            }
            lanes.blockDots(query, qo, width, count, widened.pages, at, width, scores, 0, 64);
        }
    }

    /**
     * {@code sums[i] += sum_j weights[i, j] value[j]} over the first {@code n} tokens of up to four pages.
     *
     * @param weights {@code [count, 64]}
     * @param sums {@code [count, width]} from {@code so} on
     * @param width values of a head that count
     */
    void weighted(
            int[] page,
            int head,
            float[] weights,
            int count,
            int n,
            float[] sums,
            int so,
            int width,
            Lanes lanes,
            Widened widened) {
        if (type == KvType.BF16 && count <= FEW) {
            lanes.pairWeighted(weights, 0, 64, count, words, places(page, head), columns, n, width, sums, so, width);
            return;
        }
        widened.reserve(wordRows * packed * columns);
        for (int p = 0; p * PAGE_TOKENS < n; p++) {
            int tokens = Math.min(PAGE_TOKENS, n - p * PAGE_TOKENS);
            float[] from = type == KvType.F32 ? floats : widened.pages;
            int at = type == KvType.F32 ? at(page[p], head) : 0;
            if (type != KvType.F32) {
                values(page[p], head, lanes, from, 0);
            }
            lanes.weighted(weights, p * PAGE_TOKENS, 64, count, from, at, columns, tokens, width, sums, so, width);
        }
    }

    /** Where a head's part of up to four pages begins; missing ones are taken to be the last. */
    private int[] places(int[] page, int head) {
        int[] at = new int[4];
        for (int p = 0; p < 4; p++) {
            at[p] = at(page[Math.min(p, page.length - 1)], head);
        }
        return at;
    }

    /** A head's part of a page as float32 {@code [headWidth, 16]}. */
    private void keys(int page, int head, Lanes lanes, Widened widened, int to) {
        if (across) {
            values(page, head, lanes, widened.pages, to);
            return;
        }
        values(page, head, lanes, widened.turned, 0);
        for (int slot = 0; slot < PAGE_TOKENS; slot++) {
            for (int d = 0; d < columns; d++) {
                widened.pages[to + d * PAGE_TOKENS + slot] = widened.turned[slot * columns + d];
            }
        }
    }

    /** A head's part of a page as float32, in its own layout. */
    private void values(int page, int head, Lanes lanes, float[] out, int oo) {
        int from = at(page, head);
        switch (type) {
            case F32 -> System.arraycopy(floats, from, out, oo, wordRows * columns);
            case BF16 -> lanes.widenPairs(words, from, wordRows, columns, out, oo);
            case INT8 -> {
                lanes.widenQuads(words, from, wordRows, columns, out, oo);
                unscale(factorsAt(page, head), lanes, out, oo);
            }
        }
    }

    private void unscale(int factor, Lanes lanes, float[] out, int oo) {
        int width = spec.headWidth();
        if (across) {
            for (int d = 0; d < width; d++) {
                lanes.multiply(out, oo + d * columns, factors, factor + d / KvType.GROUP * PAGE_TOKENS, columns);
            }
            return;
        }
        for (int slot = 0; slot < PAGE_TOKENS; slot++) {
            for (int d = 0; d < width; d += KvType.GROUP) {
                float scale = factors[factor + d / KvType.GROUP * PAGE_TOKENS + slot];
                lanes.scale(out, oo + slot * columns + d, scale, Math.min(KvType.GROUP, width - d));
            }
        }
    }
}
