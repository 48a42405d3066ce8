package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Mamba's selective state space (Gu and Dao 2023, arXiv 2312.00752).
 *
 * @param input {@code [2 * inner, hidden]}: x, then the gate
 * @param parameters {@code [dtRank + 2 * stateSize, inner]}: dt, B, C
 * @param dtNorm of the low-rank dt (Jamba, FalconMamba); so are the two that follow
 * @param dt {@code [inner, dtRank]}
 * @param rate {@code [stateSize, inner]}: A, negative
 * @param skip {@code [1, inner]}: D
 */
public record Mamba(
        Linear input,
        ShortConv conv,
        Linear parameters,
        @Nullable Norm dtNorm,
        @Nullable Norm bNorm,
        @Nullable Norm cNorm,
        Linear dt,
        Tensor rate,
        Tensor skip,
        Linear output)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        return List.of(conv.state(), new State.Spec.Fixed(rate.rows() * rate.width()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        output.apply(step.backend(), out, scanned(x, states, step));
    }

    /** {@code [tokens, inner]}: what the output projection reads. */
    Tensor scanned(Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int inner = rate.width();
        int stateSize = rate.rows();
        int rank = parameters.out() - 2 * stateSize;
        Tensor both = input.of(x, step);
        Tensor gate = Mamba2.columns(both, inner, inner, step);
        Tensor value = conv.of(Mamba2.columns(both, 0, inner, step), states.get(0), step);
        Tensor selected = parameters.of(value, step);
        Tensor low = normed(dtNorm, Mamba2.columns(selected, 0, rank, step), step);
        Tensor b = normed(bNorm, Mamba2.columns(selected, rank, stateSize, step), step);
        Tensor c = normed(cNorm, Mamba2.columns(selected, rank + stateSize, stateSize, step), step);
        Tensor dts = dt.of(low, step);
        backend.activate(dts, dts, Activation.SOFTPLUS);
        Tensor y = step.rows(inner);
        backend.selectiveScan(y, value, dts, rate, b, c, states.get(1), step.batch());
        backend.multiply(value, value, skip);
        backend.add(y, y, value, 1);
        backend.activate(gate, gate, Activation.SILU);
        backend.multiply(y, y, gate);
        return y;
    }

    private static Tensor normed(@Nullable Norm norm, Tensor x, Step step) {
        if (norm != null) {
            norm.apply(step.backend(), x, x);
        }
        return x;
    }
}
