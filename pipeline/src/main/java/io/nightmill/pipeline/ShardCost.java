package io.nightmill.pipeline;

/**
 * What one partition of tokenized rows holds.
 *
 * @param cost estimated tokens to read and write
 */
record ShardCost(int partition, long rows, long cost) {}
