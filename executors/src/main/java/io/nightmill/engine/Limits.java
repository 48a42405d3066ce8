package io.nightmill.engine;

import io.nightmill.tensor.KvType;

/**
 * How much the engine takes on at once, by vLLM's names.
 *
 * @param kvMemory bytes for paged states; 0 is {@value #HEAP_SHARE} of the JVM's largest heap
 * @param kvType how paged states are held
 * @param maxNumSeqs sequences that run together; 0 is by the model
 * @param maxNumBatchedTokens tokens of one step; 0 is by the model
 * @param speculation how tokens are guessed ahead
 */
public record Limits(long kvMemory, KvType kvType, int maxNumSeqs, int maxNumBatchedTokens, Speculation speculation) {
    private static final double HEAP_SHARE = 0.4;
    /** Tokens that a step should bring to each expert: below, its weights are read for too few. */
    private static final int DECODED_PER_EXPERT = 32;

    private static final int READ_PER_EXPERT = 128;

    /** Without speculation. */
    public Limits(long kvMemory, KvType kvType, int maxNumSeqs, int maxNumBatchedTokens) {
        this(kvMemory, kvType, maxNumSeqs, maxNumBatchedTokens, Speculation.NONE);
    }

    /** The same with paged states in float32. */
    public Limits(long kvMemory, int maxNumSeqs, int maxNumBatchedTokens) {
        this(kvMemory, KvType.F32, maxNumSeqs, maxNumBatchedTokens);
    }

    public Limits {
        if (kvMemory < 0 || maxNumSeqs < 0 || maxNumBatchedTokens < 0) {
            throw new IllegalArgumentException(
                    "Cannot run with kv-memory %d, max-num-seqs %d, max-num-batched-tokens %d: none may be negative"
                            .formatted(kvMemory, maxNumSeqs, maxNumBatchedTokens));
        }
    }

    /**
     * The same with what was left to the model: 64 sequences and 512 tokens, or as many as fill its experts, up to 512 and 2048.
     *
     * @param expertShare the part of a layer's experts that a token meets
     */
    public Limits chosen(double expertShare) {
        int seqs = (int) Math.max(64, Math.min(512, Math.ceil(DECODED_PER_EXPERT / expertShare)));
        int tokens = (int) Math.max(512, Math.min(2048, Math.ceil(READ_PER_EXPERT / expertShare)));
        return new Limits(
                kvMemory,
                kvType,
                maxNumSeqs > 0 ? maxNumSeqs : seqs,
                maxNumBatchedTokens > 0 ? maxNumBatchedTokens : tokens,
                speculation);
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
