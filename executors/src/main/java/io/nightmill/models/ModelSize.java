package io.nightmill.models;

import io.nightmill.layers.StateCost;

/**
 * What a model takes of an executor, by its headers alone.
 *
 * @param parameters values of all its tensors
 * @param activeParameters of them, those that one token meets
 * @param weightBytes what they take as stored
 * @param vocabulary tokens that it knows
 * @param contextLength tokens of prompt and output together
 * @param expertShare the part of a layer's experts that a token meets; 1 without experts
 * @param state of a running sequence
 */
public record ModelSize(
        long parameters,
        long activeParameters,
        long weightBytes,
        int vocabulary,
        int contextLength,
        double expertShare,
        StateCost state) {

    /** Operations per token, two per weight that it meets; attention's own, which grow with the context, are not in it. */
    public double flopsPerToken() {
        return 2.0 * activeParameters;
    }
}
