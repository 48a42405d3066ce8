package io.nightmill.models;

import io.nightmill.layers.Decoder;

/**
 * A loaded model.
 *
 * @param parameters values of all its tensors
 * @param weightBytes what they take as stored
 */
public record Model(ModelText text, Decoder decoder, long parameters, long weightBytes) {}
