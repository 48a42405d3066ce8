package io.nightmill.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.nightmill.kernels.Unpack;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class MatrixTest {
    private static final int OUT = 11;
    private static final int IN = 12;
    private static final int PANEL_ROWS = 4;

    private final Random random = new Random(3);

    private Matrix matrix(Format format, Matrix.Scales scales) {
        List<ByteBuffer> panels = new ArrayList<>();
        for (int row = 0; row < OUT; row += PANEL_ROWS) {
            byte[] bytes = new byte[(int) (Math.min(PANEL_ROWS, OUT - row) * format.rowBytes(IN))];
            for (int i = 0; i < bytes.length; i++) {
                bytes[i] = (byte) random.nextInt(0x70);
            }
            panels.add(ByteBuffer.allocateDirect(bytes.length).put(bytes).flip());
        }
        return new Matrix(format, OUT, IN, panels, PANEL_ROWS, scales);
    }

    private static float[] row(Matrix m, int row) {
        float[] values = new float[IN];
        Unpack.row(m, row, values, 0);
        return values;
    }

    private static void assertCopies(Matrix m) {
        ByteBuffer into = ByteBuffer.allocateDirect(OUT * m.rowBytes() + 5).order(ByteOrder.nativeOrder());
        for (int first = 0; first < OUT; first++) {
            for (int count = 1; count <= OUT - first; count++) {
                Matrix copy = m.copy(first, count, into);
                assertThat(copy.out()).isEqualTo(count);
                for (int n = 0; n < count; n++) {
                    assertThat(row(copy, n)).isEqualTo(row(m, first + n));
                }
            }
        }
    }

    /** Rows that are cut are the same rows, in one panel or in several, at the edge of blocks of factors or within them, and so are copies of them. */
    @Test
    void cutsRowsAcrossPanelsAndFactors() {
        float[] factors = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
        Matrix m = matrix(Format.F8_E4M3, new Matrix.Scales(factors, 3, 5));
        for (int first = 0; first < OUT; first++) {
            for (int count = 1; count <= OUT - first; count++) {
                Matrix cut = m.rows(first, count);
                Matrix last = cut.copy(count - 1, 1, ByteBuffer.allocateDirect(m.rowBytes()));
                for (int n = 0; n < count; n++) {
                    assertThat(row(cut, n)).isEqualTo(row(m, first + n));
                }
                assertThat(row(last, 0)).isEqualTo(row(m, first + count - 1));
            }
        }
        assertThatThrownBy(() -> m.rows(3, OUT)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void copiesRowsAcrossPanels() {
        assertCopies(matrix(Format.BF16, null));
    }

    @Test
    void copiesFactorsOfBlocks() {
        float[] factors = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
        assertCopies(matrix(Format.F8_E4M3, new Matrix.Scales(factors, 3, 5)));
    }

    @Test
    void cutRowsAreReadWithoutTheBufferThatTheyAreIn() {
        byte[] bytes = new byte[OUT * 4];
        random.nextBytes(bytes);
        Panels panels = Panels.onDemand(
                1,
                bytes.length,
                i -> {
                    throw new AssertionError("nobody asked for the buffer");
                },
                (i, offset, into) -> into.put(bytes, offset, into.remaining()));
        Matrix cut = new Matrix(Format.F32, OUT, 1, panels, OUT, null).rows(3, 5);
        Matrix copy = cut.copy(2, 3, ByteBuffer.allocateDirect(12));
        float[] value = new float[1];
        for (int n = 0; n < 3; n++) {
            Unpack.row(copy, n, value, 0);
            assertThat(value[0])
                    .isEqualTo(ByteBuffer.wrap(bytes)
                            .order(ByteOrder.LITTLE_ENDIAN)
                            .getFloat(4 * (5 + n)));
        }
    }
}
