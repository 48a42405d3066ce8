package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.pipeline.ChatOptions;
import java.io.Serializable;
import org.jspecify.annotations.Nullable;

/**
 * How tasks are asked, by the harness's names.
 *
 * @param limit the first so many documents of each task, or below 1 such a share of them; null is all
 * @param genKwargs go before the tasks' own {@code generation_kwargs}
 * @param addBosToken whether the begin token stands before prompts; null leaves it to the tokenizer
 * @param sandbox runs generated code; null runs none
 */
public record EvalOptions(
        @Nullable Integer numFewshot,
        @Nullable Double limit,
        boolean applyChatTemplate,
        ChatOptions chat,
        boolean fewshotAsMultiturn,
        @Nullable String systemInstruction,
        ObjectNode genKwargs,
        long fewshotSeed,
        int bootstrapIters,
        @Nullable Boolean addBosToken,
        boolean logSamples,
        @Nullable String sandbox)
        implements Serializable {

    public EvalOptions {
        if (limit != null && limit <= 0) {
            throw new IllegalArgumentException("Cannot use limit %s: expected more than 0".formatted(limit));
        }
        if (fewshotAsMultiturn && !applyChatTemplate) {
            throw new IllegalArgumentException("Cannot use fewshot-as-multiturn without apply-chat-template");
        }
    }

    /** Documents of a task that are asked. */
    long effective(long documents) {
        if (limit == null) {
            return documents;
        }
        return Math.min(documents, (long) (limit < 1 ? Math.ceil(documents * limit) : limit));
    }
}
