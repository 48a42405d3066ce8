package io.nightmill.kernels;

import io.nightmill.kernels.NativeMatmul.Context;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.memory;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;

/**
 * Some outputs of a weight as codes of four bits, in the order of oneDNN's layout. Before a product they become bytes there, in a
 * thread's own memory: {@code round(code * multiplier / 128)}, the multiplier being what a group's step is of its output's factor.
 */
final class NativeCodes implements NativeMatmul.Values {
    /** Inputs that share a step. */
    static final int GROUP = PackedWeights.GROUP;

    private static final int LANES = NativeShape.LANES;
    /** Multipliers of a group's sixteen outputs, each twice, and the codes of eight inputs to a word. */
    static final int GROUP_BYTES = 4 * LANES + GROUP / 2 * LANES;

    private final Lanes lanes;
    private final NativeShape shape;
    private final ByteBuffer packed;
    /** What the layout has behind the values: sums that the library corrects its products by. */
    private final ByteBuffer behind;

    /**
     * @param rows the outputs, {@code shape.columns}
     * @param bytes room for as many bytes
     * @param scales where the outputs' factors go, from {@code first} on
     */
    NativeCodes(
            Matrix rows,
            NativeShape shape,
            ByteBuffer bytes,
            float[] scales,
            int first,
            NativeMemory memory,
            Context context,
            Lanes lanes) {
        this.lanes = lanes;
        this.shape = shape;
        int groups = shape.in / GROUP;
        this.packed = memory.allocate((shape.columns + LANES - 1) / LANES * groups * GROUP_BYTES);
        float[] row = new float[shape.in];
        byte[] codes = new byte[shape.in];
        float[] steps = new float[groups];
        for (int n = 0; n < shape.columns; n++) {
            Unpack.row(rows, n, row, 0);
            float largest = 0;
            for (int g = 0; g < groups; g++) {
                steps[g] = PackedWeights.round(row, g * GROUP, codes);
                largest = Math.max(largest, Math.abs(steps[g]));
            }
            // Eight steps of the largest group are the largest byte.
            float factor = largest * 8 / 127;
            scales[first + n] = factor;
            for (int g = 0; g < groups; g++) {
                int multiplier = factor == 0 ? 0 : Math.round(128 * steps[g] / factor);
                put(n, g, multiplier, codes);
                for (int k = g * GROUP; k < (g + 1) * GROUP; k++) {
                    bytes.put(n * shape.in + k, toByte(codes[k] - 8, multiplier));
                }
            }
        }
        Tile tile = context.tile(shape);
        tile.holds = null;
        shape.reorder(bytes, tile.values);
        this.behind = memory.allocate(shape.bytes() - shape.valueBytes());
        behind.put(0, tile.bytes, shape.valueBytes(), behind.capacity());
    }

    static byte toByte(int code, int multiplier) {
        return (byte) (code * multiplier + 64 >> 7);
    }

    /**
     * The nibbles of a word, from the lowest: inputs 0, 1, 4, 5, 2, 3, 6, 7. Each half's nibbles become a vector's shorts together.
     */
    static int shift(int input) {
        return (input & 1) * 4 + (input & 4) * 2 + (input & 2) * 8;
    }

    private void put(int n, int g, int multiplier, byte[] codes) {
        int at = (n / LANES * (shape.in / GROUP) + g) * GROUP_BYTES + 4 * (n % LANES);
        packed.putInt(at, multiplier << 16 | multiplier & 0xffff);
        for (int j = 0; j < GROUP / 8; j++) {
            int word = 0;
            for (int q = 0; q < 8; q++) {
                word |= (codes[g * GROUP + 8 * j + q] - 8 & 15) << shift(q);
            }
            packed.putInt(at + 4 * LANES * (j + 1), word);
        }
    }

    @Override
    public dnnl_memory in(Context context) {
        Tile tile = context.tile(shape);
        if (tile.holds != this) {
            int groups = shape.in / GROUP;
            int[] lines = shape.lines();
            for (int b = 0; b < lines.length / (shape.in / 4); b++) {
                lanes.widenCodes(packed, b * groups * GROUP_BYTES, groups, tile.bytes, lines, b * (shape.in / 4));
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
            this.values = new memory(shape.weights(), NativeMatmul.CPU, new BytePointer(bytes));
            this.handle = values.get();
        }
    }
}
