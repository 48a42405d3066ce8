package io.nightmill.engine;

import io.nightmill.text.Detokenizer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** One live sequence: a prompt being read, one of its samples, or one of its continuations. */
final class Sequence {
    final Job job;
    /** Sample or continuation; the prompt itself is -1 while it will fork. */
    final int index;
    /** Tokens before it counts as output: the prompt. */
    final int promptLength;

    final TokenScores scores = new TokenScores();

    @Nullable
    Detokenizer text;

    int[] tokens;
    /** Tokens whose values are known. */
    int known;
    /** Tokens to compute: all known ones, but for the last of a text that is only scored. */
    int count;
    /** Tokens whose states are in the pages and the slot. */
    int computed;
    /** Guessed tokens that lie behind the known ones. */
    int guessed;
    /** The last position whose token is known to be right, once the step's logits are read. */
    int trusted;
    /** The next token to be judged by the logits before it; past the end if none is. */
    int toScore;
    /** Rotary regime of the computed tokens. */
    int regime;

    int[] pages = new int[0];
    int pageCount;
    /** Row of the fixed states, or -1. */
    int slot = -1;

    Sequence(Job job, int index, int[] tokens, int promptLength) {
        this.job = job;
        this.index = index;
        this.tokens = tokens;
        this.known = tokens.length;
        this.count = tokens.length;
        this.promptLength = promptLength;
    }

    void append(int token) {
        if (count == tokens.length) {
            tokens = Arrays.copyOf(tokens, Math.max(16, count + count / 2));
        }
        tokens[count++] = token;
        known = count;
    }

    /** Lays guesses behind the known tokens. */
    void guess(int[] guesses) {
        if (count + guesses.length > tokens.length) {
            tokens = Arrays.copyOf(tokens, count + count / 2 + guesses.length);
        }
        System.arraycopy(guesses, 0, tokens, count, guesses.length);
        guessed = guesses.length;
    }

    int[] output() {
        return Arrays.copyOfRange(tokens, promptLength, known);
    }

    void addPage(int page) {
        if (pageCount == pages.length) {
            pages = Arrays.copyOf(pages, Math.max(8, 2 * pageCount));
        }
        pages[pageCount++] = page;
    }
}
