package io.nightmill.kernels;

import io.nightmill.kernels.Panel.Layout;
import io.nightmill.kernels.Unpack.Codes;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Weights for products in float32, in {@link Panel}s, made before a weight is first used. Stored values are kept exactly, unless large
 * weights are to be rounded to what takes less memory: to bfloat16, to bytes with a factor per output, or to codes of four bits.
 */
final class PackedWeights {
    /** Values that share a factor where weights are rounded to four bits. */
    static final int GROUP = 32;

    private final Products rounding;
    private final Lanes lanes;
    private final NativeMemory memory = new NativeMemory();
    private final Map<Matrix, Panel @Nullable []> packed = new IdentityHashMap<>();
    private final ThreadLocal<ByteBuffer> stored = ThreadLocal.withInitial(() -> ByteBuffer.allocateDirect(0));

    /**
     * @param rounding what large weights are rounded to
     * @param lanes that read the panels
     */
    PackedWeights(Products rounding, Lanes lanes) {
        this.rounding = rounding;
        this.lanes = lanes;
    }

    /** What a weight is rounded to: null where it stays as it is, since it is small, of an odd width or takes no more already. */
    private @Nullable Layout rounded(Matrix w) {
        Layout layout =
                switch (rounding) {
                    case EXACT -> null;
                    case BF16 -> w.format() == Format.F32 ? Layout.PAIRS : null;
                    case INT8 -> switch (w.format()) {
                        case F32, BF16, F16 -> Layout.INTEGERS;
                        default -> null;
                    };
                    case INT4 -> nibbles();
                };
        boolean fits = layout != null && w.in() % (rounding == Products.INT4 ? GROUP : layout.perWord) == 0;
        return fits && Products.rounds(w) ? layout : null;
    }

    /** Codes of four bits without offsets of their own. */
    private Layout nibbles() {
        return lanes.tiles() ? Layout.SIGNED_NIBBLES : Layout.NIBBLES;
    }

    /** Packs a weight that can be, unless it has been. Called by one thread at a time, and by none of the workers. */
    void pack(Matrix w, Workers workers) {
        if (packed.containsKey(w)) {
            return;
        }
        Layout layout = layout(w);
        if (layout == null) {
            packed.put(w, null);
            return;
        }
        Panel[] panels = new Panel[(w.out() + Panel.COLUMNS - 1) / Panel.COLUMNS];
        workers.run(panels.length, p -> panels[p] = panel(w, p * Panel.COLUMNS, layout));
        packed.put(w, panels);
    }

    /** The panels of a packed weight; null for one that cannot be packed. */
    Panel @Nullable [] of(Matrix w) {
        return packed.get(w);
    }

    /** Null where a weight stays as it is. */
    private @Nullable Layout layout(Matrix w) {
        Layout rounded = rounded(w);
        if (rounded != null) {
            return rounded;
        }
        if (w.scales() != null && w.format() != Format.F8_E4M3) {
            return null;
        }
        Layout layout =
                switch (w.format()) {
                    case F32 -> Layout.FLOATS;
                    case BF16 -> Layout.PAIRS;
                    case F16 -> has(w, 2, 0x7c00) ? null : Layout.HALVES;
                    case F8_E4M3 -> has(w, 1, 0x7f) ? null : Layout.EIGHTHS;
                    case Q4_0 -> nibbles();
                    case Q4_1, Q2_K, Q4_K -> Layout.NIBBLES;
                    default -> Layout.BYTES;
                };
        return layout == null || w.in() % layout.perWord != 0 || layout.grouped() && !hasGroups(w, layout)
                ? null
                : layout;
    }

    private static boolean hasGroups(Matrix w, Layout layout) {
        return w.in() % group(w) == 0 && group(w) >= layout.perWord;
    }

    /** Inputs with a factor in common. */
    private static int group(Matrix w) {
        if (w.format() != Format.F8_E4M3) {
            return Unpack.group(w.format());
        }
        // A power of two: blocks are of 128 as a rule.
        return w.scales() == null ? GROUP : Integer.lowestOneBit(w.scales().blockIn());
    }

    /** Whether an infinity or a NaN, of which these are the bits, is among the weights: the vectors do not widen those. */
    private boolean has(Matrix w, int bytes, int bits) {
        for (int first = 0; first < w.out(); first += Panel.COLUMNS) {
            Matrix rows = rows(w, first);
            ByteBuffer values = rows.panel(0);
            for (int at = 0; at < values.capacity(); at += bytes) {
                int value = bytes == 1 ? values.get(at) : values.getShort(at);
                if ((value & bits) == bits) {
                    return true;
                }
            }
        }
        return false;
    }

    /** A copy of a panel's rows as they are stored, until this thread's next. */
    private Matrix rows(Matrix w, int first) {
        int count = Math.min(Panel.COLUMNS, w.out() - first);
        int bytes = Math.multiplyExact(Panel.COLUMNS, w.rowBytes());
        if (stored.get().capacity() < bytes) {
            stored.set(ByteBuffer.allocateDirect(bytes));
        }
        return w.copy(first, count, stored.get());
    }

    private Panel panel(Matrix w, int first, Layout layout) {
        boolean rounds = rounded(w) != null;
        int group = layout == Layout.INTEGERS ? w.in() : !layout.grouped() ? 0 : rounds ? GROUP : group(w);
        boolean offsets = !rounds
                && switch (w.format()) {
                    case Q4_1, Q5_1, Q2_K, Q4_K, Q5_K -> true;
                    default -> false;
                };
        Panel panel = Panel.allocate(memory, lanes, layout, w.in(), group, offsets);
        Matrix rows = rows(w, first);
        for (int n = 0; n < rows.out(); n++) {
            if (layout == Layout.PAIRS && rounds) {
                ByteBuffer row = ByteBuffer.allocate(2 * w.in()).order(ByteOrder.LITTLE_ENDIAN);
                Pack.row(rows, n, Format.BF16, row);
                put(panel, n, row, 0);
                continue;
            }
            if (group == 0) {
                put(panel, n, rows.panel(n), rows.rowOffset(n));
                continue;
            }
            Codes codes = new Codes(w.in(), group);
            if (layout == Layout.INTEGERS) {
                roundToBytes(rows, n, codes);
            } else if (rounds) {
                round(rows, n, codes);
            } else if (layout == Layout.EIGHTHS) {
                rows.panel(n).get(rows.rowOffset(n), codes.codes());
                for (int g = 0; g < codes.factors().length; g++) {
                    codes.factors()[g] =
                            rows.scales() == null ? 1 : rows.scales().of(n, g * group, w.in());
                }
            } else {
                Unpack.codes(rows, n, codes);
            }
            put(panel, n, codes);
        }
        return panel;
    }

    private static void put(Panel panel, int column, ByteBuffer row, int at) {
        int to = panel.column(column);
        for (int i = 0; i < panel.in() / panel.layout().perWord; i++) {
            panel.bytes().putInt(to + 64 * i, row.getInt(at + 4 * i));
        }
    }

    private static void put(Panel panel, int column, Codes row) {
        switch (panel.layout()) {
            case INTEGERS -> putIntegers(panel, column, row.codes());
            case SIGNED_NIBBLES -> putNibbles(panel, column, row.codes());
            default -> putWords(panel, column, row.codes());
        }
        float unit = panel.layout() == Layout.SIGNED_NIBBLES ? 0x1p-28f : 1;
        for (int g = 0; g < row.factors().length; g++) {
            int at = 4 * (g * Panel.COLUMNS + column);
            panel.bytes().putFloat(panel.factors() + at, unit * row.factors()[g]);
            if (panel.offsets()) {
                panel.bytes().putFloat(panel.offsetsAt() + at, row.offsets()[g]);
            }
        }
    }

    private static void putIntegers(Panel panel, int column, byte[] codes) {
        for (int i = 0; i < panel.in(); i++) {
            panel.bytes().put(panel.integer(column, i), codes[i]);
        }
    }

    /** Codes of 0 to 15, of which 8 stands for nothing. */
    private static void putNibbles(Panel panel, int column, byte[] codes) {
        for (int i = 0; i < panel.in(); i += 2) {
            panel.bytes().put(panel.nibble(column, i), (byte) ((codes[i] | codes[i + 1] << 4) ^ 0x88));
        }
    }

    private static void putWords(Panel panel, int column, byte[] codes) {
        int perWord = panel.layout().perWord;
        int bits = 32 / perWord;
        int to = panel.column(column);
        for (int i = 0; i < panel.in(); i += perWord) {
            int word = 0;
            for (int j = 0; j < perWord; j++) {
                word |= (codes[i + j] & (1 << bits) - 1) << bits * j;
            }
            panel.bytes().putInt(to + 64 * (i / perWord), word);
        }
    }

    /** A row as bytes, the largest of which is 127 or -127. */
    private static void roundToBytes(Matrix w, int row, Codes codes) {
        float[] values = new float[w.in()];
        Unpack.row(w, row, values, 0);
        float factor = Unpack.byteFactor(values, 0, values.length);
        codes.factors()[0] = factor;
        for (int i = 0; i < values.length; i++) {
            codes.codes()[i] = Unpack.toByte(values[i], factor);
        }
    }

    /** A row as codes of four bits around 8. */
    private static void round(Matrix w, int row, Codes codes) {
        float[] values = new float[w.in()];
        Unpack.row(w, row, values, 0);
        for (int from = 0; from < values.length; from += GROUP) {
            codes.factors()[from / GROUP] = round(values, from, codes.codes());
        }
    }

    /**
     * Rounds a group to -8 .. 7 steps, whose codes are 0 .. 15, and returns the step. The value that is largest by amount is about 8 steps
     * down; how many exactly is tried, and the step is then the least squares' one.
     */
    static float round(float[] x, int from, byte[] codes) {
        float largest = 0;
        for (int i = from; i < from + GROUP; i++) {
            largest = Math.abs(x[i]) > Math.abs(largest) ? x[i] : largest;
        }
        if (largest == 0) {
            Arrays.fill(codes, from, from + GROUP, (byte) 8);
            return 0;
        }
        double most = -1;
        float best = 0;
        float inverse = 0;
        for (int tried = -6; tried <= 6; tried += 2) {
            float steps = (-8 + tried / 10f) / largest;
            double products = 0;
            double squares = 0;
            for (int i = from; i < from + GROUP; i++) {
                int q = steps(x[i], steps);
                products += (double) x[i] * q;
                squares += q * q;
            }
            // What is left of the squared error is the values' own squares without this.
            if (products * products > most * squares) {
                most = products * products / squares;
                best = (float) (products / squares);
                inverse = steps;
            }
        }
        for (int i = from; i < from + GROUP; i++) {
            codes[i] = (byte) (8 + steps(x[i], inverse));
        }
        return best;
    }

    private static int steps(float value, float perUnit) {
        return Math.max(-8, Math.min(7, Math.round(value * perUnit)));
    }
}
