package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Linear attention in all its forms, by what it decays, writes and reads: RetNet (arXiv 2307.08621), Lightning (2405.17381),
 * GLA (2312.06635), HGRN2 (2404.07904), DeltaNet (2406.06484), Gated DeltaNet (2412.06464), Kimi Delta Attention (2510.26692).
 *
 * @param key null is 1 - decay
 * @param beta {@code [heads, hidden]}: its sigmoid, times {@code betaScale}, is the strength of a delta rule's write; null with
 *     a delta rule is 1
 * @param gate of the readout, or null
 */
public record LinearAttention(
        Input query,
        @Nullable Input key,
        Input value,
        @Nullable Rope rope,
        @Nullable Decay decay,
        @Nullable Linear beta,
        float betaScale,
        Recurrence recurrence,
        @Nullable Projection gate,
        Readout readout)
        implements SequenceMixer {

    /**
     * How queries, keys or values are made.
     *
     * @param norm of each head, or null
     */
    public record Input(
            Projection projection, @Nullable ShortConv conv, @Nullable Activation activation, @Nullable Norm norm) {
        public static Input of(Projection projection) {
            return new Input(projection, null, null, null);
        }

        /** @param tail of the convolution */
        Tensor of(Tensor x, @Nullable State tail, Step step) {
            Backend backend = step.backend();
            Tensor y = projection.of(x, step);
            if (conv != null) {
                y = conv.of(y, tail, step);
            }
            if (activation != null) {
                backend.activate(y, y, activation);
            }
            if (norm != null) {
                norm.apply(backend, y);
            }
            return y;
        }

        /** What the convolutions among inputs remember. */
        static List<State.Spec> tails(List<Input> inputs) {
            return inputs.stream()
                    .filter(input -> input.conv != null)
                    .map(input -> input.conv.state())
                    .toList();
        }

        /** @param tails as {@link #tails} lists them */
        static List<Tensor> all(List<Input> inputs, Tensor x, List<State> tails, Step step) {
            List<Tensor> made = new ArrayList<>();
            int next = 0;
            for (Input input : inputs) {
                made.add(input.of(x, input.conv == null ? null : tails.get(next++), step));
            }
            return made;
        }

        /** Of an input without a convolution. */
        Tensor of(Tensor x, Step step) {
            return of(x, null, step);
        }
    }

    @Override
    public List<State.Spec> states() {
        List<State.Spec> specs = new ArrayList<>(List.of(new State.Spec.Fixed(recurrence.stateWidth())));
        specs.addAll(Input.tails(inputs()));
        if (decay != null) {
            specs.addAll(decay.tails());
        }
        return specs;
    }

    private List<Input> inputs() {
        return key == null ? List.of(query, value) : List.of(query, key, value);
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        List<Tensor> made = Input.all(inputs(), x, states.subList(1, states.size()), step);
        Tensor q = made.get(0);
        Tensor v = made.get(made.size() - 1);
        Tensor factors = decay == null
                ? null
                : decay.factors(x, last(states, decay.tails().size()), step);
        Tensor k = key == null ? complement(factors, step) : made.get(1);
        if (rope != null) {
            backend.rope(q, step.table(rope), recurrence.keyDim(), 0, rope.interleaved());
            backend.rope(k, step.table(rope), recurrence.keyDim(), 0, rope.interleaved());
        }
        Update update = new Update(q, k, v, factors, strength(x, step), null, null, null);
        Tensor y = step.rows(recurrence.heads() * recurrence.valueDim());
        backend.recur(y, update, recurrence, states.get(0), step.batch());
        readout.apply(out, y, gate == null ? null : gate.of(x, step), step);
    }

    static <T> List<T> last(List<T> list, int count) {
        return list.subList(list.size() - count, list.size());
    }

    static Tensor complement(Tensor factors, Step step) {
        Tensor rest = step.rows(factors.width());
        step.backend().activate(rest, factors, Activation.ONE_MINUS);
        return rest;
    }

    private @Nullable Tensor strength(Tensor x, Step step) {
        if (beta == null) {
            return null;
        }
        Tensor strength = beta.of(x, step);
        step.backend().activate(strength, strength, Activation.SIGMOID);
        if (betaScale != 1) {
            step.backend().scale(strength, strength, betaScale);
        }
        return strength;
    }
}
