package io.nightmill.weights;

import io.nightmill.kernels.Unpack;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Weights rearranged or rounded once, when a model is loaded. */
public final class Matrices {
    private Matrices() {}

    /** {@code [in, out]} of a matrix {@code [out, in]}: 16-bit weights keep their format, others become float32. */
    public static Matrix transpose(Matrix m) {
        boolean narrow = m.scales() == null && (m.format() == Format.BF16 || m.format() == Format.F16);
        int width = narrow ? 2 : 4;
        ByteBuffer to = ByteBuffer.allocateDirect(Math.multiplyExact(Math.multiplyExact(m.out(), m.in()), width))
                .order(ByteOrder.LITTLE_ENDIAN);
        float[] row = new float[m.in()];
        for (int n = 0; n < m.out(); n++) {
            if (narrow) {
                for (int k = 0; k < m.in(); k++) {
                    to.putShort((k * m.out() + n) * 2, m.panel(n).getShort(m.rowOffset(n) + 2 * k));
                }
            } else {
                Unpack.row(m, n, row, 0);
                for (int k = 0; k < m.in(); k++) {
                    to.putFloat((k * m.out() + n) * 4, row[k]);
                }
            }
        }
        return Matrix.of(narrow ? m.format() : Format.F32, m.in(), m.out(), to);
    }

    /** The given rows of a matrix without scales. */
    static Matrix rows(Matrix m, int[] rows) {
        ByteBuffer to = ByteBuffer.allocateDirect(Math.multiplyExact(rows.length, m.rowBytes()));
        for (int row : rows) {
            to.put(m.panel(row).slice(m.rowOffset(row), m.rowBytes()));
        }
        return Matrix.of(m.format(), rows.length, m.in(), to.flip());
    }
}
