package io.nightmill.weights;

import io.nightmill.kernels.Unpack;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Panels;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Weights in another order than the file's. */
public final class Matrices {
    private Matrices() {}

    /** {@code [in, out]} of a matrix {@code [out, in]}, when it is asked for: 16-bit weights keep their format, others become float32. */
    public static Matrix transpose(Matrix m) {
        boolean narrow = m.scales() == null && (m.format() == Format.BF16 || m.format() == Format.F16);
        int width = narrow ? 2 : 4;
        int bytes = Math.multiplyExact(Math.multiplyExact(m.out(), m.in()), width);
        Panels panels = Panels.onDemand(1, bytes, i -> transposed(m, narrow, bytes));
        return new Matrix(narrow ? m.format() : Format.F32, m.in(), m.out(), panels, m.in(), null);
    }

    private static ByteBuffer transposed(Matrix m, boolean narrow, int bytes) {
        ByteBuffer to = ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
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
        return to;
    }

    /** The given rows of a matrix without scales, put together when they are asked for. */
    static Matrix rows(Matrix m, int[] rows) {
        Panels panels = Panels.onDemand(1, Math.multiplyExact(rows.length, m.rowBytes()), i -> {
            ByteBuffer to = ByteBuffer.allocateDirect(rows.length * m.rowBytes());
            for (int row : rows) {
                to.put(m.panel(row).slice(m.rowOffset(row), m.rowBytes()));
            }
            return to.flip();
        });
        return new Matrix(m.format(), rows.length, m.in(), panels, rows.length, null);
    }
}
