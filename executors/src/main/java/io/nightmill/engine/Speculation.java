package io.nightmill.engine;

/**
 * How tokens are guessed ahead of a model. The step that computes the last token computes the guesses behind it too, and each is kept
 * only if it is what the model chooses there: guesses change the speed, and not a bit of the output.
 */
public sealed interface Speculation permits PromptLookup, DraftModel {
    Speculation NONE = new PromptLookup(0, 1, 1);

    /** Guessed at once, at most; 0 is no speculation. */
    int tokens();

    /** One line of text, read back by {@link #parse}. */
    String format();

    static Speculation parse(String text) {
        String[] parts = text.split(" ", 3);
        return parts[0].equals(DraftModel.METHOD)
                ? new DraftModel(parts[2], Integer.parseInt(parts[1]))
                : PromptLookup.parse(text);
    }
}
