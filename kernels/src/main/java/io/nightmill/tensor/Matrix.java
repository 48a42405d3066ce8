package io.nightmill.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A weight {@code [out, in]} in its stored format.
 *
 * @param panels buffers of {@code panelRows} rows each (the last may be shorter)
 * @param scales factors of {@code blockOut x blockIn} blocks (FP8 checkpoints), or null
 */
public record Matrix(Format format, int out, int in, Panels panels, int panelRows, @Nullable Scales scales) {

    /** Factors {@code [ceil(out / blockOut), ceil(in / blockIn)]}, row-major. */
    public record Scales(float[] values, int blockOut, int blockIn) {
        /** The factor of one value of a matrix with {@code in} inputs. */
        public float of(int out, int input, int in) {
            return values[out / blockOut * ((in + blockIn - 1) / blockIn) + input / blockIn];
        }
    }

    public Matrix {
        if (out < 0 || in <= 0 || panelRows <= 0 || panels.bytes() != out * format.rowBytes(in)) {
            throw new IllegalArgumentException("Cannot make a %s matrix [%d, %d] of %d bytes, expected %d"
                    .formatted(format, out, in, panels.bytes(), out * format.rowBytes(in)));
        }
    }

    /** Over buffers that are held. */
    public Matrix(Format format, int out, int in, List<ByteBuffer> panels, int panelRows, @Nullable Scales scales) {
        this(format, out, in, Panels.of(panels), panelRows, scales);
    }

    /** A matrix that fits one buffer. */
    public static Matrix of(Format format, int out, int in, ByteBuffer bytes) {
        return new Matrix(format, out, in, List.of(bytes), Math.max(1, out), null);
    }

    /** A float32 matrix in memory of its own. */
    public static Matrix of(int out, int in, float[] values) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(Math.multiplyExact(values.length, 4));
        bytes.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(values);
        return of(Format.F32, out, in, bytes);
    }

    public int rowBytes() {
        return Math.toIntExact(format.rowBytes(in));
    }

    public long bytes() {
        return out * format.rowBytes(in);
    }

    /** The buffer that holds a row. */
    public ByteBuffer panel(int row) {
        return panels.get(row / panelRows);
    }

    /** Byte offset of a row in its panel. */
    public int rowOffset(int row) {
        return row % panelRows * rowBytes();
    }

    /** The rows {@code first .. first + count} as a matrix over the same bytes, or over a copy where they cross a panel. */
    public Matrix rows(int first, int count) {
        if (first < 0 || count < 1 || first + count > out) {
            throw new IllegalArgumentException("Cannot cut rows %d to %d of %d".formatted(first, first + count, out));
        }
        int panel = first / panelRows;
        boolean whole = panel == (first + count - 1) / panelRows;
        long size = count * (long) rowBytes();
        Panels bytes = Panels.onDemand(
                1,
                size,
                i -> whole ? panels.get(panel).slice(rowOffset(first), (int) size) : copied(first, count),
                (i, offset, into) -> copy(first + offset / rowBytes(), into.remaining() / rowBytes(), into));
        Scales cut = null;
        if (scales != null && first % scales.blockOut != 0) {
            cut = scalesOf(first, count);
        } else if (scales != null) {
            int perRow = (in + scales.blockIn - 1) / scales.blockIn;
            int from = first / scales.blockOut * perRow;
            int to = (first + count + scales.blockOut - 1) / scales.blockOut * perRow;
            cut = new Scales(Arrays.copyOfRange(scales.values, from, to), scales.blockOut, scales.blockIn);
        }
        return new Matrix(format, count, in, bytes, count, cut);
    }

    private ByteBuffer copied(int first, int count) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(Math.multiplyExact(count, rowBytes()));
        copy(first, count, bytes);
        return bytes;
    }

    /**
     * A copy of the rows {@code first .. first + count}, for which nothing of a file is mapped.
     *
     * @param into where it goes: {@code count * rowBytes()} bytes from 0 on
     */
    public Matrix copy(int first, int count, ByteBuffer into) {
        for (int done = 0; done < count; ) {
            int row = first + done;
            int rows = Math.min(count - done, panelRows - row % panelRows);
            panels.copy(row / panelRows, rowOffset(row), into.slice(done * rowBytes(), rows * rowBytes()));
            done += rows;
        }
        return new Matrix(
                format,
                count,
                in,
                List.of(into.slice(0, count * rowBytes())),
                Math.max(1, count),
                scalesOf(first, count));
    }

    /** The rows' own factors. */
    private @Nullable Scales scalesOf(int first, int count) {
        if (scales == null) {
            return null;
        }
        int perRow = (in + scales.blockIn - 1) / scales.blockIn;
        float[] values = new float[count * perRow];
        for (int n = 0; n < count; n++) {
            System.arraycopy(scales.values, (first + n) / scales.blockOut * perRow, values, n * perRow, perRow);
        }
        return new Scales(values, 1, scales.blockIn);
    }

    public String shape() {
        return "[" + out + ", " + in + "]";
    }
}
