package io.nightmill.kernels;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;

/** The other way from {@link Unpack}: rows of weights rounded to another format. */
public final class Pack {
    private Pack() {}

    /**
     * Row {@code row} of a matrix as BF16, Q8_0 or Q4_0.
     *
     * @param to little endian; written from 0 on
     * @throws IllegalArgumentException if the format is another, or the row is not of whole blocks
     */
    public static void row(Matrix m, int row, Format format, ByteBuffer to) {
        float[] values = new float[m.in()];
        Unpack.row(m, row, values, 0);
        int blocks = Math.toIntExact(format.rowBytes(m.in()) / format.blockBytes());
        byte[] codes = new byte[m.in()];
        for (int b = 0; b < blocks; b++) {
            int from = b * format.blockValues();
            int at = b * format.blockBytes();
            switch (format) {
                case BF16 -> to.putShort(at, Unpack.toBf16(values[b]));
                case Q8_0 -> bytes(values, from, to, at);
                case Q4_0 -> {
                    to.putShort(at, Unpack.toF16(PackedWeights.round(values, from, codes)));
                    for (int i = 0; i < 16; i++) {
                        to.put(at + 2 + i, (byte) (codes[from + 16 + i] << 4 | codes[from + i]));
                    }
                }
                default -> throw new IllegalArgumentException("Cannot round weights to " + format);
            }
        }
    }

    private static void bytes(float[] values, int from, ByteBuffer to, int at) {
        int end = from + Format.Q8_0.blockValues();
        short factor = Unpack.toF16(Unpack.byteFactor(values, from, end));
        to.putShort(at, factor);
        float step = Unpack.f16(factor);
        for (int i = from; i < end; i++) {
            // The factor is rounded itself, so the largest value may come to more than 127 steps.
            double steps = step == 0 ? 0 : Math.rint(values[i] / step);
            to.put(at + 2 + i - from, (byte) Math.max(-127, Math.min(127, steps)));
        }
    }
}
