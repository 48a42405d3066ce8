package io.nightmill.layers;

/**
 * Bytes that a running sequence takes for what its layers remember.
 *
 * @param perToken of states that grow; 0 for purely recurrent models
 * @param perSequence of states of fixed size
 */
public record StateCost(long perToken, long perSequence) {}
