package io.nightmill.engine;

import io.nightmill.layers.Decoder;

/** A loaded model that guesses for another. */
public record Draft(Decoder decoder, int contextLength) {}
