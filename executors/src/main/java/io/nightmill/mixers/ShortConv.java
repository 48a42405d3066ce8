package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * A short causal convolution of each column, and an activation: what most linear mixers put before their recurrence.
 *
 * @param weight {@code [width, kernel]}
 */
public record ShortConv(Tensor weight, @Nullable Tensor bias, @Nullable Activation activation) {
    public ShortConv {
        if (weight.width() < 2) {
            throw new IllegalArgumentException(
                    "Cannot build a convolution with a kernel of %d, expected 2 or more".formatted(weight.width()));
        }
    }

    /** Reads {@code name.weight}, stored {@code [width, 1, kernel]}, and {@code name.bias} where it is. */
    public static ShortConv from(Weights weights, String name, int width, int kernel, @Nullable Activation activation) {
        return new ShortConv(
                weights.tensor(name + ".weight", 0, width, kernel), Linear.bias(weights, name, width), activation);
    }

    /** The same of the given columns of those that are stored: for heads that share theirs. */
    public static ShortConv columnsOf(
            Weights weights, String name, int width, int kernel, @Nullable Activation activation, int[] columns) {
        float[] all = weights.values(name + ".weight", width, kernel);
        float[] chosen = new float[columns.length * kernel];
        for (int i = 0; i < columns.length; i++) {
            System.arraycopy(all, columns[i] * kernel, chosen, i * kernel, kernel);
        }
        return new ShortConv(
                weights.upload(columns.length, kernel, chosen), Linear.bias(weights, name, width, columns), activation);
    }

    /** The columns {@code first .. first + count}. */
    public ShortConv columns(int first, int count) {
        Tensor cut = bias == null ? null : new Tensor(bias.buffer(), bias.offset() + first, 1, count);
        return new ShortConv(weight.rows(first, count), cut, activation);
    }

    /** The last {@code kernel - 1} inputs. */
    State.Spec state() {
        return new State.Spec.Fixed((weight.width() - 1) * weight.rows());
    }

    Tensor of(Tensor x, State tail, Step step) {
        Tensor y = step.rows(x.width());
        apply(y, x, tail, step);
        return y;
    }

    void apply(Tensor out, Tensor x, State tail, Step step) {
        step.backend().causalConv(out, x, weight, bias, tail, step.batch());
        if (activation != null) {
            step.backend().activate(out, out, activation);
        }
    }
}
