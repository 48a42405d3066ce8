package io.nightmill.tensor;

import java.util.List;

/**
 * The new tokens of many sequences laid end to end: prefill and decode are the same call with different counts.
 *
 * @param tokens token ids, one per row of the step
 */
public record Batch(int[] tokens, List<Span> spans) {
    /** Tokens that one page of a paged state holds. */
    public static final int PAGE_TOKENS = 16;

    /**
     * One sequence's share of the step.
     *
     * @param first first row in the batch
     * @param count number of new tokens
     * @param past tokens already in the sequence's states
     * @param length tokens of the sequence as its owner sees it now (the whole prompt during its prefill); rotary
     *     tables that depend on the length use it
     * @param pages page ids in order; page {@code i} holds positions from {@code i * PAGE_TOKENS}
     * @param slot the sequence's row of fixed states, or -1 where the model has none
     */
    public record Span(int first, int count, int past, int length, int[] pages, int slot) {}

    public int size() {
        return tokens.length;
    }

    /** Each token's position in its sequence. */
    public int[] positions() {
        int[] positions = new int[tokens.length];
        for (Span span : spans) {
            for (int i = 0; i < span.count; i++) {
                positions[span.first + i] = span.past + i;
            }
        }
        return positions;
    }
}
