package io.nightmill.kernels;

import io.nightmill.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * What the tokens of a step do to a {@link Recurrence}.
 *
 * @param query {@code [tokens, queryHeads * keyDim]}
 * @param key {@code [tokens, keyHeads * keyDim]}
 * @param value {@code [tokens, heads * valueDim]}
 * @param decay factors from 0 to 1: {@code [tokens, heads]}, {@code [tokens, heads * keyDim]} or {@code [tokens, heads *
 *     valueDim]}; one row serves all tokens; {@code [heads, tableWidth]} for tables
 * @param beta {@code [tokens, heads]}, of the delta rule; null is 1
 * @param probe {@code [tokens, heads * keyDim]}, of the low-rank rule
 * @param erase {@code [tokens, heads * keyDim]}, of the low-rank rule
 * @param bonus {@code [1, heads * keyDim]}: a token reads S as it was before, and its own pair weighted by this (RWKV-6,
 *     arXiv 2404.05892); null reads S with the token in it
 */
public record Update(
        Tensor query,
        Tensor key,
        Tensor value,
        @Nullable Tensor decay,
        @Nullable Tensor beta,
        @Nullable Tensor probe,
        @Nullable Tensor erase,
        @Nullable Tensor bonus) {

    public static Update add(Tensor query, Tensor key, Tensor value, @Nullable Tensor decay) {
        return new Update(query, key, value, decay, null, null, null, null);
    }

    public static Update delta(Tensor query, Tensor key, Tensor value, @Nullable Tensor decay, Tensor beta) {
        return new Update(query, key, value, decay, beta, null, null, null);
    }
}
