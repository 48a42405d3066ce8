package io.nightmill.weights;

import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.List;

/**
 * The tensors of a checkpoint under the names that it gives them. Each read checks the shape; at the end every tensor
 * must have been read or waived. The scopes are the name map: a family that renames or stacks tensors does so in the line
 * that reads them.
 */
public interface Weights {
    /** The tensors whose names begin with {@code scope + "."}. */
    Weights in(String scope);

    boolean has(String name);

    /** Extents as stored, outermost first: for sizes that a configuration does not give. */
    int[] shape(String name);

    /** A small tensor on the backend, with {@code offset} added to every value; a vector has one row. */
    Tensor tensor(String name, float offset, int rows, int width);

    /** A vector as {@code [1, values]} on the backend. */
    default Tensor vector(String name, int values) {
        return tensor(name, 0, 1, values);
    }

    /** Values that a family computed, on the backend. */
    Tensor upload(int rows, int width, float[] values);

    /** A small tensor's values, row-major. Dimensions of 1 may be left out, here as everywhere. */
    float[] values(String name, int... shape);

    /** A weight {@code [out, in]}. */
    Matrix matrix(String name, int out, int in);

    /** The given rows of a weight {@code [out, in]}, copied. */
    Matrix matrix(String name, int out, int in, int[] rows);

    /** The slices of {@code [count, out, in]}, such as stacked experts. */
    List<Matrix> stack(String name, int count, int out, int in);

    /** The slices of {@code [count, in, out]}, each transposed. */
    List<Matrix> stackTransposed(String name, int count, int out, int in);

    /** Waives tensors by a glob with {@code *}, relative to the scope. */
    void ignore(String glob);

    /** @throws IllegalArgumentException naming the tensors that nothing read */
    void requireAllRead();
}
