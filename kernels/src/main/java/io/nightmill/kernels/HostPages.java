package io.nightmill.kernels;

import static io.nightmill.tensor.Batch.PAGE_TOKENS;

import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;

/**
 * The pages of one layer's keys or values. A head's part of a page lies together: keys as {@code [headWidth, 16]}, so that a
 * query meets sixteen tokens in one vector and no sum goes across lanes; values as {@code [16, headWidth]}.
 */
final class HostPages implements Buffer {
    private final Paged spec;
    private final KvType type;
    private final float[] floats;
    private final short[] halves;
    private final byte[] bytes;
    /** {@code [pages, heads, groups, 16]}. */
    private final float[] factors;

    HostPages(Paged spec, int rows, KvType type) {
        this.spec = spec;
        this.type = type;
        int values = Math.multiplyExact(rows, spec.width());
        floats = new float[type == KvType.F32 ? values : 0];
        halves = new short[type == KvType.BF16 ? values : 0];
        bytes = new byte[type == KvType.INT8 ? values : 0];
        factors = new float[type == KvType.INT8 ? rows * spec.heads() * KvType.groups(spec.headWidth()) : 0];
    }

    @Override
    public long size() {
        return (long) floats.length + halves.length + bytes.length;
    }

    /** First value of a head's part of a page. */
    private int at(int page, int head) {
        return (page * spec.heads() + head) * PAGE_TOKENS * spec.headWidth();
    }

    private int factorsAt(int page, int head) {
        return (page * spec.heads() + head) * PAGE_TOKENS * KvType.groups(spec.headWidth());
    }

    /** Writes a token's row to place {@code slot} of a page. */
    void append(int page, int slot, float[] row, int ro) {
        int width = spec.headWidth();
        boolean across = spec.role() == Role.KEYS;
        int step = across ? PAGE_TOKENS : 1;
        for (int head = 0; head < spec.heads(); head++) {
            int to = at(page, head) + (across ? slot : slot * width);
            int from = ro + head * width;
            switch (type) {
                case F32 -> {
                    for (int d = 0; d < width; d++) {
                        floats[to + d * step] = row[from + d];
                    }
                }
                case BF16 -> {
                    for (int d = 0; d < width; d++) {
                        halves[to + d * step] = Unpack.toBf16(row[from + d]);
                    }
                }
                case INT8 -> {
                    for (int d = 0; d < width; d += KvType.GROUP) {
                        int end = Math.min(width, d + KvType.GROUP);
                        float factor = factor(row, from + d, from + end);
                        factors[factorsAt(page, head) + d / KvType.GROUP * PAGE_TOKENS + slot] = factor;
                        for (int i = d; i < end; i++) {
                            bytes[to + i * step] = quantize(row[from + i], factor);
                        }
                    }
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

    void copy(int fromPage, int toPage, int count) {
        copy(floats, fromPage, toPage, count, spec.width());
        copy(halves, fromPage, toPage, count, spec.width());
        copy(bytes, fromPage, toPage, count, spec.width());
        copy(factors, fromPage, toPage, count, spec.heads() * KvType.groups(spec.headWidth()));
    }

    @SuppressWarnings("SuspiciousSystemArraycopy")
    private static void copy(Object array, int fromPage, int toPage, int count, int width) {
        if (java.lang.reflect.Array.getLength(array) > 0) {
            int page = PAGE_TOKENS * width;
            System.arraycopy(array, fromPage * page, array, toPage * page, count * page);
        }
    }

    /** Whether a head's part of a page can be read where it lies, as float32 in the order of {@code role}. */
    boolean isPlain(Role role) {
        return type == KvType.F32 && (role == Role.VALUES || spec.role() == Role.KEYS);
    }

    int headWidth() {
        return spec.headWidth();
    }

    /** The values of plain pages. */
    float[] plain() {
        return floats;
    }

    /** First value of a head's part of a plain page. */
    int plainAt(int page, int head) {
        return at(page, head);
    }

    /** A head's part of a page as float32 {@code [headWidth, 16]}. */
    void keys(int page, int head, Lanes lanes, float[] scratch, int so, float[] out, int oo) {
        if (spec.role() == Role.KEYS) {
            widen(page, head, lanes, out, oo);
            return;
        }
        int width = spec.headWidth();
        widen(page, head, lanes, scratch, so);
        for (int slot = 0; slot < PAGE_TOKENS; slot++) {
            for (int d = 0; d < width; d++) {
                out[oo + d * PAGE_TOKENS + slot] = scratch[so + slot * width + d];
            }
        }
    }

    /** A head's part of a page as float32 {@code [16, headWidth]}. */
    void values(int page, int head, Lanes lanes, float[] out, int oo) {
        widen(page, head, lanes, out, oo);
    }

    private void widen(int page, int head, Lanes lanes, float[] out, int oo) {
        int width = spec.headWidth();
        int from = at(page, head);
        int count = PAGE_TOKENS * width;
        switch (type) {
            case F32 -> System.arraycopy(floats, from, out, oo, count);
            case BF16 -> lanes.widen(halves, from, out, oo, count);
            case INT8 -> {
                int f = factorsAt(page, head);
                if (spec.role() == Role.KEYS) {
                    for (int d = 0; d < width; d++) {
                        int group = f + d / KvType.GROUP * PAGE_TOKENS;
                        lanes.widen(bytes, from + d * PAGE_TOKENS, out, oo + d * PAGE_TOKENS, PAGE_TOKENS);
                        lanes.multiply(out, oo + d * PAGE_TOKENS, factors, group, PAGE_TOKENS);
                    }
                } else {
                    for (int slot = 0; slot < PAGE_TOKENS; slot++) {
                        for (int d = 0; d < width; d += KvType.GROUP) {
                            int n = Math.min(KvType.GROUP, width - d);
                            lanes.widen(bytes, from + slot * width + d, out, oo + slot * width + d, n);
                            float factor = factors[f + d / KvType.GROUP * PAGE_TOKENS + slot];
                            lanes.scale(out, oo + slot * width + d, factor, n);
                        }
                    }
                }
            }
        }
    }
}
