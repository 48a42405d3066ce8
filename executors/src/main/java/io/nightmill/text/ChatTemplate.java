package io.nightmill.text;

/** placeholder */
public interface ChatTemplate {}
