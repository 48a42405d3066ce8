package io.nightmill.kernels;

/**
 * The one recurrence of linear attention, state-space duality and the delta rules. Each head keeps a matrix
 * {@code S [keyDim, valueDim]} and, token by token,
 *
 * <pre>
 *   ADD        S = D S + k v^T                                linear attention, RetNet, GLA, Mamba-2
 *   DELTA      S = D S + k beta (v - (D S)^T k)^T             DeltaNet (arXiv 2406.06484), Gated DeltaNet, KDA
 *   LOW_RANK   S = D S + erase (S^T probe)^T + k v^T          RWKV-7 (arXiv 2503.14456)
 *   out = scale S^T q
 * </pre>
 *
 * <p>Chunked form (Yang et al. 2023, arXiv 2312.06635): positions are cut into chunks. The state holds S
 * as it was before the current chunk, and the writes since then as pairs of key and value, the value of a delta rule
 * already corrected. A token reads {@code S^T q} and the pairs; the last token of a chunk folds the pairs into S, as one
 * matrix product. So prompts are matrix products, a decoded token reads S without writing it, and a token's bits do not
 * depend on how many tokens came with it.
 *
 * @param queryHeads {@code heads / queryHeads} heads share a query
 * @param keyHeads {@code heads / keyHeads} heads share a key
 * @param chunk positions of a chunk
 */
public record Recurrence(
        int heads,
        int queryHeads,
        int keyHeads,
        int keyDim,
        int valueDim,
        Decay decay,
        Rule rule,
        float scale,
        int chunk) {
    private static final int CHUNK = 16;

    /** What D multiplies: nothing, the whole matrix, its rows, or its columns. */
    public enum Decay {
        NONE,
        HEAD,
        KEY,
        VALUE,
        /**
         * The whole matrix, by factors that a checkpoint lists for every distance within a chunk (MiniMax): rounded, they
         * are no longer the powers of one factor. See {@link Recurrence#tableWidth}.
         */
        TABLE
    }

    public enum Rule {
        ADD,
        DELTA,
        LOW_RANK
    }

    public Recurrence {
        if (heads < 1 || heads % queryHeads != 0 || heads % keyHeads != 0) {
            throw new IllegalArgumentException(
                    "Cannot share %d queries and %d keys among %d heads".formatted(queryHeads, keyHeads, heads));
        }
        if (decay == Decay.KEY && keyHeads != heads
                || rule == Rule.LOW_RANK && decay != Decay.KEY
                || rule != Rule.ADD && decay == Decay.TABLE) {
            throw new IllegalArgumentException("Cannot run rule %s with decay %s, %d heads and %d key heads"
                    .formatted(rule, decay, heads, keyHeads));
        }
    }

    public Recurrence(
            int heads, int queryHeads, int keyHeads, int keyDim, int valueDim, Decay decay, Rule rule, float scale) {
        this(heads, queryHeads, keyHeads, keyDim, valueDim, decay, rule, scale, CHUNK);
    }

    /** Heads that share nothing. */
    public static Recurrence of(int heads, int keyDim, int valueDim, Decay decay, Rule rule, float scale) {
        return new Recurrence(heads, heads, heads, keyDim, valueDim, decay, rule, scale);
    }

    /** Heads that share both a query and a key: so many that follow each other. */
    int sharing() {
        int divisor = heads / queryHeads;
        for (int rest = heads / keyHeads; rest != 0; ) {
            int next = divisor % rest;
            divisor = rest;
            rest = next;
        }
        return divisor;
    }

    /** Pairs that one token writes. */
    public int writes() {
        return rule == Rule.LOW_RANK ? 2 : 1;
    }

    public int pairs() {
        return chunk * writes();
    }

    /** Values of the product of a chunk's decays so far, per head. */
    public int decayWidth() {
        return switch (decay) {
            case NONE -> 0;
            case HEAD, TABLE -> 1;
            case KEY -> keyDim;
            case VALUE -> valueDim;
        };
    }

    /**
     * Values of a row of {@link Decay#TABLE}: {@code [chunk, chunk]} factors on a pair by the place of the token that reads
     * it and its own; {@code [chunk]} on what S gives to a token; {@code [chunk]} on a pair as it is folded; 1 on S then.
     */
    public int tableWidth() {
        return chunk * chunk + 2 * chunk + 1;
    }

    int matrix(int head) {
        return head * keyDim * valueDim;
    }

    public int keys(int keyHead) {
        return matrix(heads) + keyHead * pairs() * keyDim;
    }

    public int values(int head) {
        return keys(keyHeads) + head * pairs() * valueDim;
    }

    /** The product of decays of the chunk so far, then what each pair has decayed by. */
    public int decays(int head) {
        return values(heads) + head * (decayWidth() + pairs());
    }

    /** float32 values that one sequence keeps. */
    public int stateWidth() {
        return decays(heads);
    }
}
