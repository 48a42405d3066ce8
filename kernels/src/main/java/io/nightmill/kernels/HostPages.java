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

    int headWidth() {
        return spec.headWidth();
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
                    put(word, 16 * (place % 2), 0xffff, Unpack.toBf16(value));
                } else {
                    if (d % KvType.GROUP == 0) {
                        factor = factor(row, from + d, from + Math.min(width, d + KvType.GROUP));
                        factors[factorsAt(page, head) + d / KvType.GROUP * PAGE_TOKENS + slot] = factor;
                    }
                    put(word, 8 * (place % 4), 0xff, quantize(value, factor));
                }
            }
        }
    }

    private void put(int word, int shift, int mask, int bits) {
        words[word] = words[word] & ~(mask << shift) | (bits & mask) << shift;
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

    /** Whether keys, or else values, can be read where they lie. */
    boolean isPlain(boolean asKeys) {
        return type == KvType.F32 && (across || !asKeys);
    }

    /** The values of plain pages. */
    float[] plain() {
        return floats;
    }

    /** First value of a head's part of a plain page. */
    int plainAt(int page, int head) {
        return at(page, head);
    }

    /** Values that {@link #keys} and {@link #values} write, some of them behind the last row. */
    int widened() {
        return wordRows * packed * columns;
    }

    /** A head's part of a page as float32 {@code [headWidth, 16]}, by way of {@code scratch} where rows must be turned. */
    void keys(int page, int head, Lanes lanes, float[] scratch, float[] out, int oo) {
        if (across) {
            values(page, head, lanes, out, oo);
            return;
        }
        values(page, head, lanes, scratch, 0);
        for (int slot = 0; slot < PAGE_TOKENS; slot++) {
            for (int d = 0; d < columns; d++) {
                out[oo + d * PAGE_TOKENS + slot] = scratch[slot * columns + d];
            }
        }
    }

    /** A head's part of a page as float32, in its own layout. */
    void values(int page, int head, Lanes lanes, float[] out, int oo) {
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
