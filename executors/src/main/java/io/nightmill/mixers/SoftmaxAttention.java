package io.nightmill.mixers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Grouped-query softmax attention, full or sliding (Vaswani et al. 2017, arXiv 1706.03762; Ainslie et al. 2023, arXiv
 * 2305.13245).
 *
 * @param queryNorm over heads of {@code normWidth} values, which is a head or all of them; null is none
 * @param clip queries, keys and values are clamped to {@code -clip .. clip} after their norms; 0 is none
 */
public record SoftmaxAttention(
        Linear query,
        Linear key,
        Linear value,
        Linear output,
        @Nullable Norm queryNorm,
        @Nullable Norm keyNorm,
        @Nullable Rope rope,
        Attention attention,
        float clip)
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
                0);
    }

    /** The same with norms on queries and keys. */
    public SoftmaxAttention normed(Norm onQuery, Norm onKey) {
        return new SoftmaxAttention(query, key, value, output, onQuery, onKey, rope, attention, clip);
    }

    public SoftmaxAttention clipped(float limit) {
        return new SoftmaxAttention(query, key, value, output, queryNorm, keyNorm, rope, attention, limit);
    }

    @Override
    public List<State.Spec> states() {
        return List.of(new State.Spec.Paged(key.out()), new State.Spec.Paged(value.out()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor q = project(query, x, step);
        Tensor k = project(key, x, step);
        Tensor v = project(value, x, step);
        norm(backend, queryNorm, q);
        norm(backend, keyNorm, k);
        if (clip > 0) {
            backend.clamp(q, -clip, clip);
            backend.clamp(k, -clip, clip);
            backend.clamp(v, -clip, clip);
        }
        if (rope != null) {
            backend.rope(q, step.table(rope), attention.keyDim(), 0, rope.interleaved());
            backend.rope(k, step.table(rope), attention.keyDim(), 0, rope.interleaved());
        }
        backend.append(states.get(0), 0, k, step.batch());
        backend.append(states.get(1), 0, v, step.batch());
        Tensor mixed = step.rows(attention.heads() * attention.valueDim());
        backend.attend(mixed, q, states.get(0), states.get(1), attention, step.batch());
        output.apply(backend, out, mixed);
    }

    private Tensor project(Linear projection, Tensor x, Step step) {
        Tensor y = step.rows(projection.out());
        projection.apply(step.backend(), y, x);
        return y;
    }

    /** A norm as wide as a head sees each head as a row; one as wide as the row sees the row. */
    private void norm(Backend backend, @Nullable Norm norm, Tensor x) {
        if (norm instanceof Norm.Rms rms && rms.weight() != null) {
            Tensor rows = x.reshape(rms.weight().width());
            norm.apply(backend, rows, rows);
        } else if (norm != null) {
            norm.apply(backend, x, x);
        }
    }
}
