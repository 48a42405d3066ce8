package io.nightmill.mixers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Hymba's layer (Dong et al. 2024, arXiv 2411.13676): attention heads and Mamba heads read the same rows, and their normed
 * results are averaged before one output projection.
 *
 * @param key null, as value is, where the layer reads the keys and values of another
 * @param source that other layer, earlier in the stack, or null
 * @param mamba as wide as all heads' values; its output projection is that of the layer
 */
public record HybridHeads(
        Linear query,
        @Nullable Linear key,
        @Nullable Linear value,
        @Nullable HybridHeads source,
        Rope rope,
        Attention attention,
        Norm attentionNorm,
        Mamba mamba,
        Norm mambaNorm)
        implements SequenceMixer {

    public HybridHeads {
        if ((key == null) != (source != null) || (key == null) != (value == null)) {
            throw new IllegalArgumentException("Cannot attend: expected keys and values of its own, or another's");
        }
    }

    @Override
    public List<State.Spec> states() {
        List<State.Spec> specs = new ArrayList<>(mamba.states());
        if (key != null && value != null) {
            specs.add(new Paged(Role.KEYS, attention.kvHeads(), attention.keyDim()));
            specs.add(new Paged(Role.VALUES, attention.kvHeads(), attention.valueDim()));
        }
        return specs;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        Tensor q = query.of(x, step);
        backend.rope(q, step.table(rope), attention.keyDim(), 0, rope.interleaved());
        List<State> pages = source == null ? states.subList(2, 4) : step.held(source);
        if (key != null && value != null) {
            Tensor k = key.of(x, step);
            backend.rope(k, step.table(rope), attention.keyDim(), 0, rope.interleaved());
            backend.append(pages.get(0), k, step.batch());
            backend.append(pages.get(1), value.of(x, step), step.batch());
            step.hold(this, pages);
        }
        Tensor mixed = step.rows(attention.heads() * attention.valueDim());
        backend.attend(mixed, q, pages.get(0), pages.get(1), attention, step.batch());
        attentionNorm.apply(backend, mixed);
        Tensor scanned = mamba.scanned(x, states.subList(0, 2), step);
        mambaNorm.apply(backend, scanned);
        backend.add(mixed, mixed, scanned, 1);
        backend.scale(mixed, mixed, 0.5f);
        mamba.output().apply(backend, out, mixed);
    }
}
