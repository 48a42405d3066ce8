package io.nightmill.pipeline;

import io.nightmill.engine.Completion.Failure;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A row between the stages: its prompt as token ids, or why it has none.
 *
 * @param continuations token ids to score after the prompt; empty for generation and for scoring the prompt itself
 * @param characters length of each continuation's text; -1 where it was given as ids
 * @param sampling the row's own sampling parameters as JSON, or null
 * @param keep the columns to carry through, as Spark's unsafe row
 * @param fingerprint {@link Fingerprint#ofRow}
 * @param failure set if the row cannot run
 */
record PlannedRow(
        String id,
        int[] prompt,
        List<int[]> continuations,
        int[] characters,
        @Nullable String sampling,
        byte @Nullable [] keep,
        String fingerprint,
        @Nullable Failure failure) {

    /** What the row will cost, in tokens: those to read, and those it may write. */
    long cost(long maxTokens) {
        long tokens = (long) prompt.length + (continuations.isEmpty() ? maxTokens : 0);
        for (int[] continuation : continuations) {
            tokens += continuation.length;
        }
        return failure == null ? tokens : 1;
    }
}
