package io.nightmill.engine;

/**
 * Guesses by a smaller model of the same vocabulary (Leviathan et al. 2023, arXiv 2211.17192).
 *
 * @param path as of the model itself
 * @param tokens guessed at once, at most
 */
public record DraftModel(String path, int tokens) implements Speculation {
    static final String METHOD = "draft_model";

    public DraftModel {
        if (path.isEmpty() || tokens < 1) {
            throw new IllegalArgumentException(
                    "Cannot guess %d tokens by the model '%s': expected num_speculative_tokens >= 1 and a model"
                            .formatted(tokens, path));
        }
    }

    @Override
    public String format() {
        return METHOD + " " + tokens + " " + path;
    }
}
