package io.nightmill.text;

import java.util.Arrays;

/**
 * Text of a growing sequence. A token's text can depend on its neighbours (leading spaces, characters of several tokens),
 * so a short tail is decoded with and without the new tokens, and text is held back while its last character is
 * incomplete.
 */
public final class Detokenizer {
    private static final int CONTEXT = 6;

    private final Tokenizer tokenizer;
    private final boolean skipSpecial;
    private int[] tail;
    private int pending;
    private final StringBuilder text = new StringBuilder();

    /** @param prompt tokens before the text */
    public Detokenizer(Tokenizer tokenizer, boolean skipSpecial, int[] prompt) {
        this.tokenizer = tokenizer;
        this.skipSpecial = skipSpecial;
        this.tail = Arrays.copyOfRange(prompt, Math.max(0, prompt.length - CONTEXT), prompt.length);
    }

    /** The text so far, without an incomplete last character. */
    public StringBuilder text() {
        return text;
    }

    public void push(int id) {
        tail = Arrays.copyOf(tail, tail.length + 1);
        tail[tail.length - 1] = id;
        pending++;
        String before = tokenizer.decode(Arrays.copyOf(tail, tail.length - pending), skipSpecial);
        String after = tokenizer.decode(tail, skipSpecial);
        if (!after.endsWith("\uFFFD") && after.length() > before.length()) {
            text.append(after, before.length(), after.length());
            settle();
        }
    }

    /** The whole text of some tokens after a prompt, with U+FFFD where the last character never became complete. */
    public static String text(Tokenizer tokenizer, boolean skipSpecial, int[] prompt, int[] tokens) {
        int from = Math.max(0, prompt.length - CONTEXT);
        int[] context = Arrays.copyOfRange(prompt, from, prompt.length);
        int[] all = Arrays.copyOf(context, context.length + tokens.length);
        System.arraycopy(tokens, 0, all, context.length, tokens.length);
        String before = tokenizer.decode(context, skipSpecial);
        String after = tokenizer.decode(all, skipSpecial);
        return after.substring(Math.min(before.length(), after.length()));
    }

    private void settle() {
        pending = 0;
        tail = Arrays.copyOfRange(tail, Math.max(0, tail.length - CONTEXT), tail.length);
    }
}
