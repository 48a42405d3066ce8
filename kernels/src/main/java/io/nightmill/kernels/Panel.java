package io.nightmill.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * Sixty-four outputs of a weight, in four blocks {@code [in / perWord, 16]} of 32-bit words, each with neighbouring inputs of one
 * output: a row's value meets sixteen outputs in one vector, and no sum goes across lanes. Grouped layouts have factors
 * {@code [in / group, 64]} behind the words, and codes offsets of the same shape behind those where they are not a multiple of them.
 * {@link Layout#INTEGERS} has one group of all inputs.
 *
 * @param group inputs with a factor in common, a power of two; 0 without factors
 * @param segment the bytes in the form that {@link Lanes#segment} gives
 */
record Panel(Layout layout, int in, int group, boolean offsets, ByteBuffer bytes, @Nullable Object segment) {
    static final int COLUMNS = 64;

    enum Layout {
        FLOATS(1),
        /** Bfloat16, the first input in the low half. */
        PAIRS(2),
        /** Float16. */
        HALVES(2),
        /** E4M3. */
        EIGHTHS(4),
        /** Signed codes. */
        BYTES(4),
        /**
         * Signed bytes with a factor per output, by which sums are multiplied. A block is {@code [in / 2, 8]} words, which have two neighbouring
         * inputs of an output in their low half and of the output eight further on in their high half.
         */
        INTEGERS(4),
        /**
         * Codes of -8 to 7 in groups of 32 without offsets, in two blocks {@code [in / 2, 8]} of words of 32 outputs, whose four bytes have two
         * neighbouring inputs each, of outputs that lie eight apart. A code counts as the number that it is in a word's highest bits: factors are
         * 2^-28 of its step.
         */
        SIGNED_NIBBLES(8),
        /** Codes of 0 to 15; without offsets of their own, 8 stands for nothing. */
        NIBBLES(8);

        final int perWord;

        Layout(int perWord) {
            this.perWord = perWord;
        }

        /** Blocks of sixteen outputs that lie in the same words. */
        int blocks() {
            return this == SIGNED_NIBBLES ? 2 : 1;
        }

        /** Whether vectors take factors from an array, {@link Panel#factors(float[])}; else from the panel's memory. */
        boolean factorsApart() {
            return this == INTEGERS || this == SIGNED_NIBBLES;
        }

        /** Whether values are multiplied by the factor of their group. */
        boolean grouped() {
            return this == EIGHTHS || this == BYTES || this == NIBBLES || this == SIGNED_NIBBLES;
        }
    }

    static Panel allocate(NativeMemory memory, Lanes lanes, Layout layout, int in, int group, boolean offsets) {
        int values = group == 0 ? 0 : in / group * COLUMNS * (offsets ? 2 : 1);
        ByteBuffer bytes = memory.allocate(4 * (in / layout.perWord * COLUMNS + values));
        return new Panel(layout, in, group, offsets, bytes.order(ByteOrder.LITTLE_ENDIAN), lanes.segment(bytes));
    }

    /**
     * Byte at which the words of a column begin, the next word being 64 bytes on; of {@link Layout#INTEGERS} and {@link Layout#SIGNED_NIBBLES}, of a
     * block's first column only.
     */
    int column(int column) {
        return (column / 16 * (in / layout.perWord) * 16 + column % 16) * 4;
    }

    /** Byte of a weight of {@link Layout#INTEGERS}. */
    int integer(int column, int input) {
        return column(column / 16 * 16) + 32 * (input / 2) + 4 * (column % 8) + 2 * (column / 8 % 2) + input % 2;
    }

    /** Byte of a code of {@link Layout#SIGNED_NIBBLES}: the low half is the even input's. */
    int nibble(int column, int input) {
        return column(column / 32 * 32) + 32 * (input / 2) + 4 * (column % 8) + column / 8 % 4;
    }

    int factors() {
        return in / layout.perWord * COLUMNS * 4;
    }

    /** Where offsets lie, to be taken {@link #offsetFactor()} times. */
    int offsetsAt() {
        return factors() + (offsets ? in / group * COLUMNS * 4 : 0);
    }

    float offsetFactor() {
        return offsets ? 1 : layout == Layout.NIBBLES ? -8 : 0;
    }

    /**
     * A copy of the factors, {@code [in / group, 64]}, in {@code into} if that is large enough; {@code into} as it is where vectors do not take them
     * from an array.
     */
    float[] factors(float[] into) {
        if (!layout.factorsApart()) {
            return into;
        }
        int count = in / group * COLUMNS;
        float[] values = HostBuffer.atLeast(into, count);
        bytes.slice(factors(), 4 * count)
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer()
                .get(values, 0, count);
        return values;
    }

    /** A weight. */
    float value(int column, int input) {
        float term = term(column, input);
        return layout == Layout.INTEGERS ? term * bytes.getFloat(factors() + 4 * column) : term;
    }

    /** A weight, or the integer that it is a multiple of, by shifts and tables: what the vectors must agree with. */
    float term(int column, int input) {
        int word = bytes.getInt(column(column) + input / layout.perWord * 64);
        int place = input % layout.perWord;
        return switch (layout) {
            case FLOATS -> Float.intBitsToFloat(word);
            case PAIRS -> Unpack.bf16((short) (word >> 16 * place));
            case HALVES -> Unpack.f16((short) (word >> 16 * place));
            case INTEGERS -> bytes.get(integer(column, input));
            case SIGNED_NIBBLES -> (bytes.get(nibble(column, input)) << 28 - 4 * (input % 2) & 0xf0000000)
                    * bytes.getFloat(factors() + 4 * (input / group * COLUMNS + column));
            case EIGHTHS -> Unpack.e4m3((byte) (word >> 8 * place))
                    * bytes.getFloat(factors() + 4 * (input / group * COLUMNS + column));
            case BYTES, NIBBLES -> {
                int code = layout == Layout.BYTES ? (byte) (word >> 8 * place) : word >> 4 * place & 15;
                int at = 4 * (input / group * COLUMNS + column);
                float offset = bytes.getFloat(offsetsAt() + at) * offsetFactor();
                yield code * bytes.getFloat(factors() + at) + offset;
            }
        };
    }
}
