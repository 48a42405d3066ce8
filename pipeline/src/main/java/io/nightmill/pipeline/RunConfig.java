package io.nightmill.pipeline;

import io.nightmill.runtime.ModelSpec;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A run, wholly checked before it starts.
 *
 * @param inputFormat null is by the path's extension
 * @param outputFormat a Spark format, {@code jsonl} or {@code arrow}
 * @param mode {@code errorifexists}, {@code overwrite} or {@code append}
 * @param sampling sampling parameters as JSON; null scores instead of generating
 * @param shardTokens estimated tokens of one task
 */
public record RunConfig(
        String input,
        @Nullable String inputFormat,
        String output,
        String outputFormat,
        String mode,
        List<String> keepColumns,
        @Nullable String promptTemplate,
        ModelSpec model,
        @Nullable String sampling,
        int topLogprobs,
        OnTooLong onTooLong,
        boolean returnTokenIds,
        long shardTokens) {
    public RunConfig {
        if (shardTokens < 1) {
            throw new IllegalArgumentException(
                    "Cannot use shard-tokens %d: expected at least 1".formatted(shardTokens));
        }
        if (!List.of("errorifexists", "overwrite", "append").contains(mode)) {
            throw new IllegalArgumentException(
                    "Cannot use mode '%s', expected errorifexists, overwrite or append".formatted(mode));
        }
        if (topLogprobs < 0) {
            throw new IllegalArgumentException("Cannot use top-logprobs %d: expected 0 or more".formatted(topLogprobs));
        }
    }
}
