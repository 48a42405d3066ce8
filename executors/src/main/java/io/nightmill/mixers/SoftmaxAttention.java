package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Grouped-query softmax attention, full or sliding (Vaswani et al. 2017, arXiv 1706.03762; Ainslie et al. 2023, arXiv
 * 2305.13245).
 *
 * @param queryNorm over heads of {@code normWidth} values, which is a head or all of them; null is none
 * @param gate {@code [heads * valueDim, hidden]}: the result is multiplied by its sigmoid; null is none
 * @param clip queries, keys and values are clamped to {@code -clip .. clip} after their norms; 0 is none
 */
public record SoftmaxAttention(
        Projection query,
        Projection key,
        Projection value,
        Linear output,
        @Nullable Norm queryNorm,
        @Nullable Norm keyNorm,
        @Nullable Rope rope,
        Attention attention,
        float clip,
        @Nullable Linear gate)
        implements SequenceMixer {

    /** Reads {@code q_proj, k_proj, v_proj, o_proj}, with biases where the checkpoint has them. */
    public static SoftmaxAttention from(Weights weights, int hidden, @Nullable Rope rope, Attention attention) {
        int heads = attention.heads();
        int kvHeads = attention.kvHeads();
        return new SoftmaxAttention(
                Linear.from(weights, "q_proj", heads * attention.keyDim(), hidden),
                Linear.from(weights, "k_proj", kvHeads * attention.keyDim(), hidden),
                Linear.from(weights, "v_proj", kvHeads * attention.valueDim(), hidden),
                Linear.from(weights, "o_proj", hidden, heads * attention.valueDim()),
                null,
                null,
                rope,
                attention,
                0,
                null);
    }

    /** The same with norms on queries and keys. */
    public SoftmaxAttention normed(Norm onQuery, Norm onKey) {
        return new SoftmaxAttention(query, key, value, output, onQuery, onKey, rope, attention, clip, gate);
    }

    public SoftmaxAttention clipped(float limit) {
        return new SoftmaxAttention(query, key, value, output, queryNorm, keyNorm, rope, attention, limit, gate);
    }

    /** The same with its result multiplied by the sigmoid of a projection. */
    public SoftmaxAttention gated(Linear by) {
        return new SoftmaxAttention(query, key, value, output, queryNorm, keyNorm, rope, attention, clip, by);
    }

    @Override
    public List<State.Spec> states() {
        return List.of(
                new Paged(Role.KEYS, attention.kvHeads(), attention.keyDim()),
                new Paged(Role.VALUES, attention.kvHeads(), attention.valueDim()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        List<Tensor> rows = Projection.all(List.of(query, key, value), x, step);
        Tensor q = rows.get(0);
        Tensor k = rows.get(1);
        Tensor v = rows.get(2);
        if (queryNorm != null) {
            queryNorm.apply(backend, q);
        }
        if (keyNorm != null) {
            keyNorm.apply(backend, k);
        }
        if (clip > 0) {
            backend.clamp(q, -clip, clip);
            backend.clamp(k, -clip, clip);
            backend.clamp(v, -clip, clip);
        }
        if (rope != null) {
            backend.rope(q, step.table(rope), attention.keyDim(), 0, rope.interleaved());
            backend.rope(k, step.table(rope), attention.keyDim(), 0, rope.interleaved());
        }
        backend.append(states.get(0), k, step.batch());
        backend.append(states.get(1), v, step.batch());
        Tensor mixed = step.rows(attention.heads() * attention.valueDim());
        backend.attend(mixed, q, states.get(0), states.get(1), attention, step.batch());
        if (gate != null) {
            Tensor factor = gate.of(x, step);
            backend.activate(factor, factor, Activation.SIGMOID);
            backend.multiply(mixed, mixed, factor);
        }
        output.apply(backend, out, mixed);
    }
}
