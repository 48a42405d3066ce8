package io.nightmill.mixers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434), absorbed: keys and values are never expanded. A token keeps
 * one latent row and one rotary key for all heads; queries are carried into the latent space, results out of it.
 *
 * @param queryDown {@code [queryRank, hidden]} with its norm, or null where queries are projected directly
 * @param query {@code [heads * (nope + rotary), hidden or queryRank]}
 * @param latent {@code [rank, hidden]}
 * @param rotaryKey {@code [rotary, hidden]}
 * @param absorbKey per head {@code [rank, nope]}
 * @param absorbValue per head {@code [valueDim, rank]}
 * @param attention of {@code rank + rotary} wide keys and {@code rank} wide values, one key head
 * @param rope null is no positions
 */
public record LatentAttention(
        @Nullable Linear queryDown,
        @Nullable Norm queryNorm,
        Linear query,
        Linear latent,
        Norm latentNorm,
        Linear rotaryKey,
        List<Matrix> absorbKey,
        List<Matrix> absorbValue,
        Linear output,
        Attention attention,
        @Nullable Rope rope)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        return List.of(new State.Spec.Paged(State.Spec.Role.BOTH, 1, attention.keyDim()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int heads = attention.heads();
        int rank = latent.out();
        int rotary = rotaryKey.out();
        int nope = absorbKey.get(0).in();

        Tensor from = x;
        if (queryDown != null && queryNorm != null) {
            from = step.rows(queryDown.out());
            queryDown.apply(backend, from, x);
            queryNorm.apply(backend, from, from);
        }
        Tensor q = step.rows(query.out());
        query.apply(backend, q, from);
        List<Tensor> rows = Projection.all(List.of(latent, rotaryKey), x, step);
        Tensor c = rows.get(0);
        latentNorm.apply(backend, c, c);
        Tensor k = rows.get(1);
        if (rope != null) {
            backend.rope(q, step.table(rope), nope + rotary, nope, rope.interleaved());
            backend.rope(k, step.table(rope), rotary, 0, rope.interleaved());
        }
        State state = states.get(0);
        Tensor latentRow = step.rows(rank + rotary);
        backend.copyColumns(latentRow, 0, c, 0, rank);
        backend.copyColumns(latentRow, rank, k, 0, rotary);
        backend.append(state, latentRow, step.batch());

        Tensor absorbed = step.rows(heads * (rank + rotary));
        backend.headMatmul(absorbed, q, absorbKey);
        backend.copyColumns(absorbed.reshape(rank + rotary), rank, q.reshape(nope + rotary), nope, rotary);
        Tensor mixed = step.rows(heads * rank);
        backend.attend(mixed, absorbed, state, state, attention, step.batch());
        Tensor values = step.rows(heads * absorbValue.get(0).out());
        backend.headMatmul(values, mixed, absorbValue);
        output.apply(backend, out, values);
    }
}
