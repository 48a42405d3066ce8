package io.nightmill.engine;

/**
 * How much the engine takes on at once, by vLLM's names.
 *
 * @param kvMemory bytes for paged states
 * @param maxNumSeqs sequences that run together
 * @param maxNumBatchedTokens tokens of one step
 */
public record Limits(long kvMemory, int maxNumSeqs, int maxNumBatchedTokens) {
    public Limits {
        if (kvMemory < 1 || maxNumSeqs < 1 || maxNumBatchedTokens < 1) {
            throw new IllegalArgumentException(
                    "Cannot run with kv-memory %d, max-num-seqs %d, max-num-batched-tokens %d: each must be positive"
                            .formatted(kvMemory, maxNumSeqs, maxNumBatchedTokens));
        }
    }
}
