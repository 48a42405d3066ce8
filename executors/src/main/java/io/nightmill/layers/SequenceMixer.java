package io.nightmill.layers;

/** A layer that looks along time: attention, or a recurrence. */
public non-sealed interface SequenceMixer extends Layer {}
