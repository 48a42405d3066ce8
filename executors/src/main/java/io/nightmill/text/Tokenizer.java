package io.nightmill.text;

/** Text to token ids and back. Implementations are safe for use by several threads. */
public interface Tokenizer {
    /** @param special whether the model's own begin (and end) tokens are added, and special tokens in the text are found */
    int[] encode(String text, boolean special);

    /** @param skipSpecial whether special tokens are left out of the text */
    String decode(int[] ids, boolean skipSpecial);

    int vocabularySize();
}
