package io.nightmill.pipeline;

/**
 * What a part of the planned rows holds.
 *
 * @param cost tokens to compute: those to read that the row before does not have, and those that may be written
 * @param promptTokens tokens of all prompts
 * @param sharedTokens of them, those that the row before has too
 * @param outputTokens tokens that may be written or scored after the prompts
 * @param duplicates rows that ask what the row before asks
 */
record ShardCost(
        int partition, long rows, long cost, long promptTokens, long sharedTokens, long outputTokens, long duplicates) {
    ShardCost plus(ShardCost more) {
        return new ShardCost(
                partition,
                rows + more.rows,
                cost + more.cost,
                promptTokens + more.promptTokens,
                sharedTokens + more.sharedTokens,
                outputTokens + more.outputTokens,
                duplicates + more.duplicates);
    }
}
