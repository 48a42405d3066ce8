package io.nightmill.tensor;

/**
 * A row-major view {@code [rows, width]} of float32 values in a buffer. It never owns memory. A reshape is a new view of
 * the same values; there are no strides and no broadcasting.
 *
 * @param offset first value of the view, in values
 */
public record Tensor(Buffer buffer, long offset, int rows, int width) {
    public Tensor {
        long end = offset + (long) rows * width;
        if (offset < 0 || rows < 0 || width < 0 || end > buffer.size()) {
            throw new IllegalArgumentException("Cannot view [%d, %d] at %d: the buffer holds %d values"
                    .formatted(rows, width, offset, buffer.size()));
        }
    }

    /** The rows {@code first .. first + count}. */
    public Tensor rows(int first, int count) {
        return new Tensor(buffer, offset + (long) first * width, count, width);
    }

    /** The same values as {@code [rows * width / newWidth, newWidth]}: heads become rows. */
    public Tensor reshape(int newWidth) {
        long values = (long) rows * width;
        if (values % newWidth != 0) {
            throw new IllegalArgumentException(
                    "Cannot reshape [%d, %d] to rows of %d".formatted(rows, width, newWidth));
        }
        return new Tensor(buffer, offset, Math.toIntExact(values / newWidth), newWidth);
    }

    public String shape() {
        return "[" + rows + ", " + width + "]";
    }
}
