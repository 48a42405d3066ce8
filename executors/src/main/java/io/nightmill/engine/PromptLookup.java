package io.nightmill.engine;

import java.util.Arrays;

/**
 * Guesses without a second model (Saxena 2023, prompt lookup decoding): what followed the last tokens when they stood
 * earlier in the sequence is guessed to follow again.
 *
 * @param tokens guessed at once, at most; 0 is no speculation
 * @param longest tokens that must have stood before, tried from the longest on
 * @param shortest of them
 */
public record PromptLookup(int tokens, int longest, int shortest) implements Speculation {
    private static final String METHOD = "ngram";

    public PromptLookup {
        if (tokens < 0 || shortest < 1 || longest < shortest) {
            throw new IllegalArgumentException(
                    "Cannot guess %d tokens from the last %d to %d: expected num_speculative_tokens >= 0 and 1 <= prompt_lookup_min <= prompt_lookup_max"
                            .formatted(tokens, shortest, longest));
        }
    }

    @Override
    public String format() {
        return METHOD + " " + tokens + " " + longest + " " + shortest;
    }

    static PromptLookup parse(String text) {
        String[] parts = text.split(" ");
        return new PromptLookup(Integer.parseInt(parts[1]), Integer.parseInt(parts[2]), Integer.parseInt(parts[3]));
    }

    /** What followed the last occurrence of the sequence's last tokens; empty if they are new. */
    int[] guess(int[] sequence, int count, int atMost) {
        int most = Math.min(tokens, atMost);
        for (int n = Math.min(longest, count - 1); most > 0 && n >= shortest; n--) {
            for (int end = count - 1; end >= n; end--) {
                if (Arrays.equals(sequence, end - n, end, sequence, count - n, count)) {
                    return Arrays.copyOfRange(sequence, end, Math.min(count, end + most));
                }
            }
        }
        return new int[0];
    }
}
