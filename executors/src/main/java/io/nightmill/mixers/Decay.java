package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Step;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/** What a linear mixer keeps of its state from one token to the next: factors from 0 to 1. */
public sealed interface Decay {

    /**
     * {@code [tokens, width]}, or one row for all tokens.
     *
     * @param tails as {@link #tails} lists them
     */
    Tensor factors(Tensor x, List<State> tails, Step step);

    /** What a convolution in front remembers. */
    default List<State.Spec> tails() {
        return List.of();
    }

    /** The same at every token (RetNet, Lightning). */
    record Constant(Tensor factors) implements Decay {
        @Override
        public Tensor factors(Tensor x, List<State> tails, Step step) {
            return factors;
        }
    }

    /**
     * {@code exp(rate * softplus(f(x) + bias))} (Gated DeltaNet, KDA).
     *
     * @param rate {@code [1, width]}, negative
     */
    record Softplus(Projection f, Tensor bias, Tensor rate) implements Decay {
        @Override
        public Tensor factors(Tensor x, List<State> tails, Step step) {
            Backend backend = step.backend();
            Tensor y = f.of(x, step);
            backend.add(y, y, bias, 1);
            backend.activate(y, y, Activation.SOFTPLUS);
            backend.multiply(y, y, rate);
            backend.activate(y, y, Activation.EXP);
            return y;
        }
    }

    /**
     * {@code exp(low * sigmoid(slope * (f(x) + bias)))} (KDA with a bounded gate).
     *
     * @param slope {@code [1, width]}
     * @param low logarithm of the least factor
     */
    record Sigmoid(Projection f, Tensor bias, Tensor slope, float low) implements Decay {
        @Override
        public Tensor factors(Tensor x, List<State> tails, Step step) {
            Backend backend = step.backend();
            Tensor y = f.of(x, step);
            backend.add(y, y, bias, 1);
            backend.multiply(y, y, slope);
            backend.activate(y, y, Activation.SIGMOID);
            backend.scale(y, y, low);
            backend.activate(y, y, Activation.EXP);
            return y;
        }
    }

    /**
     * {@code max(exp(low), sigmoid(f(x))^power)} (GLA, GSA).
     *
     * @param low may be negative infinity
     */
    record SigmoidPower(Projection f, float power, float low) implements Decay {
        @Override
        public Tensor factors(Tensor x, List<State> tails, Step step) {
            Backend backend = step.backend();
            Tensor y = f.of(x, step);
            backend.activate(y, y, Activation.LOG_SIGMOID);
            backend.scale(y, y, power);
            if (low > Float.NEGATIVE_INFINITY) {
                backend.clamp(y, low, 0);
            }
            backend.activate(y, y, Activation.EXP);
            return y;
        }
    }

    /**
     * {@code bound + (1 - bound) sigmoid(f(x))} (HGRN, HGRN2).
     *
     * @param bound {@code [1, width]}
     * @param rest {@code 1 - bound}
     */
    record Bounded(Input f, Tensor bound, Tensor rest) implements Decay {
        @Override
        public List<State.Spec> tails() {
            return Input.tails(List.of(f));
        }

        @Override
        public Tensor factors(Tensor x, List<State> tails, Step step) {
            Backend backend = step.backend();
            Tensor y = Input.all(List.of(f), x, tails, step).get(0);
            backend.activate(y, y, Activation.SIGMOID);
            backend.multiply(y, y, rest);
            backend.add(y, y, bound, 1);
            return y;
        }
    }
}
