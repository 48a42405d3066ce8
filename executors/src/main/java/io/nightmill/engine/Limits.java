package io.nightmill.engine;

import io.nightmill.tensor.KvType;

/**
 * How much the engine takes on at once, by vLLM's names.
 *
 * @param kvMemory bytes for paged states; 0 is {@value #HEAP_SHARE} of the JVM's largest heap
 * @param kvType how paged states are held
 * @param maxNumSeqs sequences that run together
 * @param maxNumBatchedTokens tokens of one step
 * @param speculation how tokens are guessed ahead
 */
public record Limits(long kvMemory, KvType kvType, int maxNumSeqs, int maxNumBatchedTokens, PromptLookup speculation) {
    private static final double HEAP_SHARE = 0.4;

    /** Without speculation. */
    public Limits(long kvMemory, KvType kvType, int maxNumSeqs, int maxNumBatchedTokens) {
        this(kvMemory, kvType, maxNumSeqs, maxNumBatchedTokens, PromptLookup.NONE);
    }

    /** The same with paged states in float32. */
    public Limits(long kvMemory, int maxNumSeqs, int maxNumBatchedTokens) {
        this(kvMemory, KvType.F32, maxNumSeqs, maxNumBatchedTokens);
    }

    public Limits {
        if (kvMemory < 0 || maxNumSeqs < 1 || maxNumBatchedTokens < 1) {
            throw new IllegalArgumentException(
                    "Cannot run with kv-memory %d, max-num-seqs %d, max-num-batched-tokens %d: the first must not be negative, the others positive"
                            .formatted(kvMemory, maxNumSeqs, maxNumBatchedTokens));
        }
    }

    public Limits withKvMemory(long bytes) {
        return new Limits(bytes, kvType, maxNumSeqs, maxNumBatchedTokens, speculation);
    }

    /** Bytes for paged states in this JVM. */
    long kvBytes() {
        return kvBytes(Runtime.getRuntime().maxMemory());
    }

    /** The same in a JVM with such a heap. */
    public long kvBytes(long heap) {
        return kvMemory > 0 ? kvMemory : (long) (HEAP_SHARE * heap);
    }
}
