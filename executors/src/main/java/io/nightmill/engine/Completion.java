package io.nightmill.engine;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What became of a request.
 *
 * @param outputs one per sample or continuation, in order
 * @param prompt judged prompt tokens from the second on, where they were asked for
 * @param cachedTokens prompt tokens whose states were shared with another request
 */
public record Completion(
        Request request,
        List<Output> outputs,
        @Nullable TokenScores prompt,
        int cachedTokens,
        @Nullable Failure failure,
        Timing timing) {

    /**
     * @param tokens generated or scored tokens
     * @param text null without a tokenizer
     * @param stopReason the stop string or stop token id that ended it; null for the end token or the length
     * @param scores one per token
     */
    public record Output(
            int index,
            int[] tokens,
            @Nullable String text,
            Finish finish,
            @Nullable String stopReason,
            TokenScores scores) {}

    public enum Finish {
        STOP,
        LENGTH,
        SCORED
    }

    /** Why a row has no result; the message says what was found and what was expected. */
    public record Failure(Code code, String message) {
        public enum Code {
            TOO_LONG,
            BAD_INPUT,
            OUT_OF_MEMORY,
            INTERNAL
        }
    }

    /** Milliseconds from submission: until the first step, until the first token, until the end. */
    public record Timing(long queued, long firstToken, long total) {}
}
