package io.nightmill.weights;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.regex.Pattern;

/**
 * Random weights of whatever shape a family asks for, so that a configuration alone is a model: for benchmarks, and for tests
 * of families that have no checkpoint to be had. A tensor's values depend on its name only.
 */
public final class SyntheticWeights implements Weights {
    private final Backend backend;
    private final Format format;
    private final Pattern optional;
    private final Tally tally;
    private final String scope;

    /**
     * @param format of matrices: F32 or BF16
     * @param optional the tensors, by name, that are there although a family could do without them
     */
    public SyntheticWeights(Backend backend, Format format, Pattern optional) {
        this(backend, format, optional, new Tally(), "");
    }

    private SyntheticWeights(Backend backend, Format format, Pattern optional, Tally tally, String scope) {
        this.backend = backend;
        this.format = format;
        this.optional = optional;
        this.tally = tally;
        this.scope = scope;
    }

    /** What was asked for; a tensor that is read in parts counts once. */
    private static final class Tally {
        final Set<String> names = new HashSet<>();
        long bytes;
        long parameters;

        void count(String name, long values, long size) {
            if (names.add(name)) {
                parameters += values;
                bytes += size;
            }
        }
    }

    /** Bytes of all that was asked for. */
    public long bytes() {
        return tally.bytes;
    }

    /** Values of all that was asked for. */
    public long parameters() {
        return tally.parameters;
    }

    @Override
    public Weights in(String name) {
        return new SyntheticWeights(backend, format, optional, tally, scope + name + ".");
    }

    @Override
    public boolean has(String name) {
        return optional.matcher(scope + name).matches();
    }

    /** Of a vector: what has no name in the configuration has no shape here. */
    @Override
    public int[] shape(String name) {
        return new int[1];
    }

    @Override
    public float[] values(String name, int... shape) {
        int count = Arrays.stream(shape).reduce(1, Math::multiplyExact);
        SplittableRandom random = new SplittableRandom((scope + name).hashCode());
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            double uniform = 2 * random.nextDouble() - 1;
            // Near what training begins with: norms about 1, slow decays, small steps.
            values[i] = (float)
                    (name.contains("norm")
                            ? 1 + 0.2 * uniform
                            : name.endsWith("A_log")
                                    ? 0.7 + 0.7 * uniform
                                    : name.endsWith("dt_bias") ? uniform - 2 : 0.5 * uniform);
        }
        tally.count(scope + name, count, 4L * count);
        return values;
    }

    @Override
    public Tensor tensor(String name, float offset, int rows, int width) {
        float[] values = values(name, rows, width);
        for (int i = 0; i < values.length; i++) {
            values[i] += offset;
        }
        return upload(rows, width, values);
    }

    @Override
    public Tensor upload(int rows, int width, float[] values) {
        Buffer buffer = backend.allocate(values.length);
        Tensor tensor = new Tensor(buffer, 0, rows, width);
        backend.upload(tensor, values);
        return tensor;
    }

    @Override
    public Matrix matrix(String name, int out, int in) {
        SplittableRandom random = new SplittableRandom((scope + name).hashCode());
        ByteBuffer data = ByteBuffer.allocateDirect(Math.toIntExact(out * format.rowBytes(in)));
        data.order(ByteOrder.LITTLE_ENDIAN);
        float scale = (float) (1.7 / Math.sqrt(in));
        for (int i = 0; i < out * in; i++) {
            float value = scale * (float) (2 * random.nextDouble() - 1);
            if (format == Format.BF16) {
                data.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
            } else {
                data.putFloat(value);
            }
        }
        tally.count(scope + name, (long) out * in, data.capacity());
        return Matrix.of(format, out, in, data.flip());
    }

    @Override
    public Matrix matrix(String name, int out, int in, int[] rows) {
        return Matrices.rows(matrix(name, out, in), rows);
    }

    @Override
    public List<Matrix> stack(String name, int count, int out, int in) {
        List<Matrix> slices = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            slices.add(matrix(name + "." + i, out, in));
        }
        return slices;
    }

    @Override
    public List<Matrix> stackTransposed(String name, int count, int out, int in) {
        return stack(name, count, out, in);
    }

    @Override
    public void ignore(String glob) {}

    @Override
    public void requireAllRead() {}
}
