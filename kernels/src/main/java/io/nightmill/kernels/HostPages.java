package io.nightmill.kernels;

import static io.nightmill.tensor.Batch.PAGE_TOKENS;

import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import java.util.Arrays;

/**
 * The pages of one layer's keys or values. A head's part of a page lies together: keys as {@code [headWidth, 16]}, so that a
 * query meets sixteen tokens in one vector and no sum goes across lanes; values as {@code [16, headWidth]}. Narrow types put
 * two or four rows of that into one row of words, which widen by shifts; bfloat16 values lie in blocks of sixteen columns,
 * {@code [headWidth / 16, 8, 16]}, to be read from four pages at once. Memory is taken as pages are written, a few pages at a
 * time: what has been written stays where it is.
 */
final class HostPages implements Buffer {
    /** So many rows meet narrow keys in registers; for more, they are widened to the first-level cache once. */
    private static final int FEW = 4;
    /** Words of an array, at most, unless a page has more. */
    private static final int ARRAY = 1 << 16;

    private final Paged spec;
    private final KvType type;
    private final boolean across;
    private final boolean blocked;
    /** Values that a word holds. */
    private final int packed;
    /** Rows of values in a head's part of a page, and values in a row. */
    private final int rows;

    private final int columns;
    /** Words of a head's part of a page. */
    private final int size;
    /** Factors of one, {@code [groups, 16]}. */
    private final int factorSize;

    private final int pages;
    /** Pages of one array: not so many that the garbage collector treats it as a large object. */
    private final int perArray;

    private final float[][] floats;
    private final int[][] words;
    /** {@code [pages, heads, groups, 16]}. */
    private final float[][] factors;

    HostPages(Paged spec, int tokens, KvType type) {
        this.spec = spec;
        this.type = type;
        this.across = spec.role() == Role.KEYS;
        this.blocked = type == KvType.BF16 && spec.role() == Role.VALUES;
        this.packed = type == KvType.F32 ? 1 : type == KvType.BF16 ? 2 : 4;
        int width = spec.headWidth();
        this.rows = across ? width : PAGE_TOKENS;
        this.columns = across ? PAGE_TOKENS : blocked ? (width + 15) / 16 * 16 : width;
        this.size = (rows + packed - 1) / packed * columns;
        this.factorSize = KvType.groups(width) * PAGE_TOKENS;
        this.pages = tokens / PAGE_TOKENS;
        this.perArray = Math.max(1, ARRAY / (spec.heads() * size));
        int arrays = (pages + perArray - 1) / perArray;
        this.floats = new float[type == KvType.F32 ? arrays : 0][];
        this.words = new int[type == KvType.F32 ? 0 : arrays][];
        this.factors = new float[type == KvType.INT8 ? arrays : 0][];
    }

    /** Takes memory for a page; no other thread may use the pages meanwhile. */
    void reserve(int page) {
        int array = page / perArray;
        if (type == KvType.F32 ? floats[array] != null : words[array] != null) {
            return;
        }
        int count = Math.min(perArray, pages - array * perArray) * spec.heads();
        if (type == KvType.F32) {
            floats[array] = new float[count * size];
        } else {
            words[array] = new int[count * size];
        }
        if (type == KvType.INT8) {
            factors[array] = new float[count * factorSize];
        }
    }

    @Override
    public long size() {
        return (long) packed * pages * spec.heads() * size;
    }

    /** Where a head's part of a page begins in the page's array, whose parts are {@link #size} or {@link #factorSize} long. */
    private int at(int page, int head, int part) {
        return (page % perArray * spec.heads() + head) * part;
    }

    /** The same of up to four pages; missing ones are taken to be the last. */
    private int[] places(int[] page, int head, int part, int[] into) {
        for (int p = 0; p < 4; p++) {
            into[p] = at(page[Math.min(p, page.length - 1)], head, part);
        }
        return into;
    }

    /** The arrays of {@link #places}. */
    private <T> T[] arrays(T[] from, int[] page, T[] into) {
        for (int p = 0; p < 4; p++) {
            into[p] = from[page[Math.min(p, page.length - 1)] / perArray];
        }
        return into;
    }

    /** Writes a token's row to place {@code slot} of a page; the first one empties the page. */
    void append(int page, int slot, float[] row, int ro) {
        int array = page / perArray;
        for (int head = 0; head < spec.heads(); head++) {
            int to = at(page, head, size);
            int from = ro + head * spec.headWidth();
            if (slot == 0 && blocked) {
                Arrays.fill(words[array], to, to + size, 0);
            }
            switch (type) {
                case F32 -> appendFloats(floats[array], to, slot, row, from);
                case BF16 -> appendHalves(words[array], to, slot, row, from);
                case INT8 -> appendBytes(words[array], to, factors[array], at(page, head, factorSize), slot, row, from);
            }
        }
    }

    private void appendFloats(float[] out, int to, int slot, float[] row, int from) {
        for (int d = 0; d < spec.headWidth(); d++) {
            out[across ? to + d * columns + slot : to + slot * columns + d] = row[from + d];
        }
    }

    private void appendHalves(int[] out, int to, int slot, float[] row, int from) {
        int width = spec.headWidth();
        if (across) {
            // Both halves of a word are this token's.
            for (int d = 0; d < width; d += 2) {
                int high = d + 1 < width ? Unpack.toBf16(row[from + d + 1]) << 16 : 0;
                out[to + d / 2 * columns + slot] = high | (Unpack.toBf16(row[from + d]) & 0xffff);
            }
            return;
        }
        int shift = 16 * (slot % 2);
        for (int d = 0; d < width; d++) {
            int word = blocked ? d / 16 * 128 + slot / 2 * 16 + d % 16 : slot / 2 * columns + d;
            int bits = (Unpack.toBf16(row[from + d]) & 0xffff) << shift;
            out[to + word] = out[to + word] & ~(0xffff << shift) | bits;
        }
    }

    private void appendBytes(int[] out, int to, float[] scales, int scalesAt, int slot, float[] row, int from) {
        int width = spec.headWidth();
        float factor = 0;
        for (int d = 0; d < width; d++) {
            if (d % KvType.GROUP == 0) {
                factor = Unpack.byteFactor(row, from + d, from + Math.min(width, d + KvType.GROUP));
                scales[scalesAt + d / KvType.GROUP * PAGE_TOKENS + slot] = factor;
            }
            int place = across ? d : slot;
            int word = to + place / 4 * columns + (across ? slot : d);
            int shift = 8 * (place % 4);
            out[word] = out[word] & ~(0xff << shift) | (Unpack.toByte(row[from + d], factor) & 0xff) << shift;
        }
    }

    void copy(int from, int to) {
        int page = spec.heads() * size;
        if (type == KvType.F32) {
            System.arraycopy(floats[from / perArray], at(from, 0, size), floats[to / perArray], at(to, 0, size), page);
        } else {
            System.arraycopy(words[from / perArray], at(from, 0, size), words[to / perArray], at(to, 0, size), page);
        }
        if (type == KvType.INT8) {
            System.arraycopy(
                    factors[from / perArray],
                    at(from, 0, factorSize),
                    factors[to / perArray],
                    at(to, 0, factorSize),
                    spec.heads() * factorSize);
        }
    }

    /** float32 that a thread widens pages into, and where four pages lie that it works on. */
    static final class Widened {
        private float[] pages = new float[0];
        private float[] turned = new float[0];
        private final int[] places = new int[4];
        private final int[] factorPlaces = new int[4];
        private final float[][] floats = new float[4][];
        private final int[][] words = new int[4][];
        private final float[][] factors = new float[4][];

        private float[] reserve(int values) {
            if (pages.length < values) {
                pages = new float[values];
                turned = new float[values];
            }
            return pages;
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
            float[][] all = arrays(floats, page, widened.floats);
            int[] at = places(page, head, size, widened.places);
            lanes.blockDots(query, qo, width, count, all, at, width, scores, 0, 64);
        } else if (across && type == KvType.BF16 && count <= FEW) {
            int[][] all = arrays(words, page, widened.words);
            int[] at = places(page, head, size, widened.places);
            lanes.pairDots(query, qo, width, count, all, at, width, scores, 0, 64);
        } else if (across && type == KvType.INT8 && count <= FEW) {
            int[][] all = arrays(words, page, widened.words);
            int[] at = places(page, head, size, widened.places);
            float[][] scales = arrays(factors, page, widened.factors);
            int[] scalesAt = places(page, head, factorSize, widened.factorPlaces);
            lanes.quadDots(query, qo, width, count, all, at, scales, scalesAt, width, scores, 0, 64);
        } else {
            int values = packed * size;
            widened.reserve(4 * values);
            int[] at = widened.places;
            for (int p = 0; p < 4; p++) {
                at[p] = Math.min(p, page.length - 1) * values;
                if (p < page.length) {
                    keys(page[p], head, lanes, widened, at[p]);
                }
            }
            Arrays.fill(widened.floats, widened.pages);
            lanes.blockDots(query, qo, width, count, widened.floats, at, width, scores, 0, 64);
        }
    }

    /**
     * {@code sums[i] += sum_j weights[i, j] value[j]} over the first {@code n} tokens of up to four pages.
     *
     * @param weights {@code [count, 64]}, 0 from {@code n} on
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
        if (blocked) {
            int[][] all = arrays(words, page, widened.words);
            int[] at = places(page, head, size, widened.places);
            lanes.pairWeighted(weights, 0, 64, count, all, at, width, sums, so, width);
            return;
        }
        for (int p = 0; p * PAGE_TOKENS < n; p++) {
            int from = p * PAGE_TOKENS;
            int at = at(page[p], head, size);
            if (type == KvType.INT8) {
                bytesWeighted(page[p], head, weights, from, count, sums, so, width, lanes, widened);
                continue;
            }
            float[] rows = type == KvType.F32 ? floats[page[p] / perArray] : widened.reserve(packed * size);
            if (type == KvType.BF16) {
                widen(page[p], head, lanes, rows, 0);
                at = 0;
            }
            int tokens = Math.min(PAGE_TOKENS, n - from);
            lanes.weighted(weights, from, 64, count, rows, at, columns, tokens, width, sums, so, width);
        }
    }

    /** A page's bytes by weights that have taken the factors of a group in, a group of columns after the other. */
    private void bytesWeighted(
            int page,
            int head,
            float[] weights,
            int from,
            int count,
            float[] sums,
            int so,
            int width,
            Lanes lanes,
            Widened widened) {
        float[] scaled = widened.reserve(PAGE_TOKENS * count);
        for (int d = 0; d < width; d += KvType.GROUP) {
            int group = at(page, head, factorSize) + d / KvType.GROUP * PAGE_TOKENS;
            for (int i = 0; i < count; i++) {
                System.arraycopy(weights, from + i * 64, scaled, i * PAGE_TOKENS, PAGE_TOKENS);
                lanes.multiply(scaled, i * PAGE_TOKENS, factors[page / perArray], group, PAGE_TOKENS);
            }
            lanes.quadWeighted(
                    scaled,
                    0,
                    PAGE_TOKENS,
                    count,
                    words[page / perArray],
                    at(page, head, size) + d,
                    columns,
                    Math.min(KvType.GROUP, width - d),
                    sums,
                    so + d,
                    width);
        }
    }

    /** A head's part of a page as float32 {@code [headWidth, 16]}. */
    private void keys(int page, int head, Lanes lanes, Widened widened, int to) {
        if (across) {
            widen(page, head, lanes, widened.pages, to);
            return;
        }
        widen(page, head, lanes, widened.turned, 0);
        for (int slot = 0; slot < PAGE_TOKENS; slot++) {
            for (int d = 0; d < columns; d++) {
                widened.pages[to + d * PAGE_TOKENS + slot] = widened.turned[slot * columns + d];
            }
        }
    }

    /** A head's part of a page as float32 {@code [rows, columns]}. */
    private void widen(int page, int head, Lanes lanes, float[] out, int oo) {
        int array = page / perArray;
        int from = at(page, head, size);
        switch (type) {
            case F32 -> System.arraycopy(floats[array], from, out, oo, size);
            case BF16 -> lanes.widenPairs(words[array], from, size / columns, columns, out, oo);
            case INT8 -> {
                lanes.widenQuads(words[array], from, size / columns, columns, out, oo);
                unscale(factors[array], at(page, head, factorSize), lanes, out, oo);
            }
        }
    }

    private void unscale(float[] scales, int scalesAt, Lanes lanes, float[] out, int oo) {
        int width = spec.headWidth();
        if (across) {
            for (int d = 0; d < width; d++) {
                lanes.multiply(out, oo + d * columns, scales, scalesAt + d / KvType.GROUP * PAGE_TOKENS, columns);
            }
            return;
        }
        for (int slot = 0; slot < PAGE_TOKENS; slot++) {
            for (int d = 0; d < width; d += KvType.GROUP) {
                float scale = scales[scalesAt + d / KvType.GROUP * PAGE_TOKENS + slot];
                lanes.scale(out, oo + slot * columns + d, scale, Math.min(KvType.GROUP, width - d));
            }
        }
    }
}
