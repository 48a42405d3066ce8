package io.nightmill.models;

import io.nightmill.layers.StateCost;

/**
 * What a model takes of an executor, by its headers alone.
 *
 * @param parameters values of all its tensors
 * @param weightBytes what they take as stored
 * @param contextLength tokens of prompt and output together
 * @param state of a running sequence
 */
public record ModelSize(long parameters, long weightBytes, int contextLength, StateCost state) {}
