package io.nightmill.kernels;

import io.nightmill.kernels.NativeMatmul.Context;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.memory;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;

/**
 * Some outputs of a weight as codes of four bits, in the order of oneDNN's layout. Before a product they become bytes there, in a
 * thread's own memory: {@code (code - zero) * multiplier}, with a zero and a multiplier, of four bits too, for each 32 inputs of an
 * output. A byte is a 120th of what the output's widest group needs, so nothing is rounded twice.
 */
final class NativeCodes implements NativeMatmul.Values {
    /** Inputs that share a zero and a multiplier. */
    static final int GROUP = PackedWeights.GROUP;

    private static final int LANES = NativeShape.LANES;
    private static final int LINE = 4 * LANES;
    /** The largest multiplier: eight steps of it fit into a byte. */
    private static final int LARGEST = 15;

    private final Lanes lanes;
    private final NativeShape shape;
    private final ByteBuffer packed;
    /** What the layout has behind the values: sums that the library corrects its products by. */
    private final ByteBuffer behind;

    /**
     * @param rows the outputs, {@code shape.columns}
     * @param bytes room for as many bytes
     * @param factors where the outputs' factors go, from {@code first} on
     */
    NativeCodes(
            Matrix rows,
            NativeShape shape,
            ByteBuffer bytes,
            float[] factors,
            int first,
            NativeMemory memory,
            Context context,
            Lanes lanes) {
        this.lanes = lanes;
        this.shape = shape;
        int groups = shape.in / GROUP;
        this.packed = memory.allocate((shape.columns + LANES - 1) / LANES * blockBytes(groups));
        float[] row = new float[shape.in];
        byte[] codes = new byte[GROUP];
        for (int n = 0; n < shape.columns; n++) {
            Unpack.row(rows, n, row, 0);
            float factor = 0;
            for (int g = 0; g < groups; g++) {
                factor = Math.max(factor, unit(row, g * GROUP));
            }
            factors[first + n] = factor;
            int block = n / LANES * blockBytes(groups) + 4 * (n % LANES);
            for (int g = 0; g < groups; g++) {
                int scale = round(row, g * GROUP, factor, codes);
                int at = block + scales(g);
                packed.putInt(at, packed.getInt(at) | scale << 8 * (g & 3));
                for (int i = 0; i < GROUP / 8; i++) {
                    int word = 0;
                    for (int k = 0; k < 8; k++) {
                        byte code = codes[8 * i + k];
                        word |= code << shift(k);
                        bytes.put(n * shape.in + g * GROUP + 8 * i + k, toByte(code, scale));
                    }
                    packed.putInt(block + group(g) + i * LINE, word);
                }
            }
        }
        Tile tile = context.tile(shape);
        tile.holds = null;
        shape.reorder(bytes, tile.values);
        this.behind = memory.allocate(shape.bytes() - shape.valueBytes());
        behind.put(0, tile.bytes, shape.valueBytes(), behind.capacity());
    }

    /** Bytes of sixteen outputs. */
    static int blockBytes(int groups) {
        return (groups + 3) / 4 * LINE + groups * GROUP / 8 * LINE;
    }

    /** Where a block has the line of the scales of group {@code g} and its three neighbours, a byte of each output's word each. */
    static int scales(int g) {
        return g / 4 * (1 + 4 * GROUP / 8) * LINE;
    }

    /** Where a block has the first of the group's lines, each of eight inputs. */
    static int group(int g) {
        return scales(g) + LINE + (g & 3) * GROUP / 8 * LINE;
    }

    /** Where a word has the input's code: the low halves of its bytes make a line of the layout, the high ones the next. */
    static int shift(int input) {
        return (input & 3) * 8 + (input & 4);
    }

    /** @param scale the multiplier in the low four bits, the zero in the next */
    static byte toByte(int code, int scale) {
        return (byte) ((code - (scale >> 4)) * (scale & 15));
    }

    /** What a group's values lie between, zero too. */
    private record Range(float least, float most) {
        static Range of(float[] x, int from) {
            float least = 0;
            float most = 0;
            for (int i = from; i < from + GROUP; i++) {
                least = Math.min(least, x[i]);
                most = Math.max(most, x[i]);
            }
            return new Range(least, most);
        }
    }

    /** What a byte of 1 has to mean at least, so that a group's values come to multipliers and bytes that there are. */
    static float unit(float[] x, int from) {
        Range range = Range.of(x, from);
        return Math.max((range.most - range.least) / (15 * LARGEST), Math.max(range.most, -range.least) / 120);
    }

    /**
     * Rounds a group to the multiplier and the zero that leave the least squared error: the multiplier is about the group's range in
     * fifteen steps, and the zero puts the range in the middle of the codes.
     *
     * @param unit what a byte of 1 means
     * @return the scale, see {@link #toByte}
     */
    static int round(float[] x, int from, float unit, byte[] codes) {
        if (unit == 0) {
            Arrays.fill(codes, (byte) 0);
            return 0;
        }
        Range range = Range.of(x, from);
        int about = (int) ((range.most - range.least) / 15 / unit);
        int best = 0;
        float error = Float.POSITIVE_INFINITY;
        for (int tried = 0; tried < 6; tried++) {
            int multiplier = Math.max(1, Math.min(LARGEST, about - 1 + tried / 2));
            float step = multiplier * unit;
            int middle = (int) Math.floor(7.5f - (range.least + range.most) / 2 / step) + tried % 2;
            // Codes 0 and 15 have to fit into a byte.
            int zero = Math.max(15 - 127 / multiplier, Math.min(Math.min(15, 128 / multiplier), Math.max(0, middle)));
            float perStep = 1 / step;
            float left = 0;
            for (int i = from; i < from + GROUP; i++) {
                float off = x[i] - (code(x[i], perStep, zero) - zero) * step;
                left += off * off;
            }
            if (left < error) {
                error = left;
                best = zero << 4 | multiplier;
            }
        }
        float perStep = 1 / ((best & 15) * unit);
        for (int k = 0; k < GROUP; k++) {
            codes[k] = (byte) code(x[from + k], perStep, best >> 4);
        }
        return best;
    }

    private static int code(float x, float perStep, int zero) {
        return Math.max(0, Math.min(15, (int) (x * perStep + (zero + 0.5f))));
    }

    @Override
    public dnnl_memory in(Context context) {
        Tile tile = context.tile(shape);
        if (tile.holds != this) {
            int groups = shape.in / GROUP;
            int block = blockBytes(groups);
            int[] lines = shape.lines();
            int blocks = packed.capacity() / block;
            int atOnce = Math.max(1, Ahead.FIRST_CACHE / block);
            for (int from = 0; from < blocks; from += atOnce) {
                int to = Math.min(blocks, from + atOnce);
                Ahead.read(packed, from * block, (to - from) * block);
                for (int b = from; b < to; b++) {
                    lanes.widenCodes(packed, b * block, groups, tile.bytes, lines, b * (shape.in / 4));
                }
            }
            tile.bytes.put(shape.valueBytes(), behind, 0, behind.capacity());
            tile.holds = this;
        }
        return tile.handle;
    }

    /** A thread's own memory for the bytes of one weight at a time. */
    static final class Tile {
        private final ByteBuffer bytes;
        private final memory values;
        private final dnnl_memory handle;
        private @Nullable NativeCodes holds;

        Tile(NativeShape shape) {
            this.bytes = NativeMatmul.direct(shape.bytes());
            this.values = new memory(shape.weights(), NativeShape.CPU, new BytePointer(bytes));
            this.handle = values.get();
        }
    }
}
