package io.nightmill.weights;

import io.nightmill.kernels.Unpack;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A tensor as a file holds it.
 *
 * @param type the file's own name of the number type, for messages
 * @param format null for types that weights cannot have, such as integers
 * @param shape extents, outermost first
 * @param offset first byte in the file
 */
record Stored(
        String name, String type, @Nullable Format format, long[] shape, MappedFile file, long offset, long bytes) {
    long values() {
        return Arrays.stream(shape).reduce(1, Math::multiplyExact);
    }

    /** @throws IllegalArgumentException if weights cannot have the tensor's type */
    Format weightFormat() {
        if (format == null) {
            throw new IllegalArgumentException("Cannot load tensor '%s' of %s: its type %s is not one of %s"
                    .formatted(name, file.path(), type, Arrays.toString(Format.values())));
        }
        return format;
    }

    /** All values, row-major. */
    float[] read() {
        float[] values = new float[Math.toIntExact(values())];
        Unpack.row(Matrix.of(weightFormat(), 1, values.length, file.slice(offset, bytes)), 0, values, 0);
        return values;
    }

    String describe() {
        return type + " " + Arrays.toString(shape);
    }
}
