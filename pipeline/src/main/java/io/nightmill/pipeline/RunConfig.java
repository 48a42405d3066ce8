package io.nightmill.pipeline;

import io.nightmill.models.ModelSize;
import io.nightmill.runtime.ModelSpec;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A run, wholly checked before it starts.
 *
 * @param input a path or a table's name; null where {@link Inference#run} is given the rows themselves, of which those with choices
 *     are scored
 * @param inputFormat null is by the path's extension
 * @param outputFormat a Spark format, {@code jsonl} or {@code arrow}
 * @param mode {@code errorifexists}, {@code overwrite}, {@code append} or {@code resume}; {@code auto} resumes what a run has
 *     begun, and is {@code errorifexists} otherwise
 * @param sampling sampling parameters as JSON; null scores instead of generating
 * @param prefixCaching whether beginnings that rows share are computed once
 * @param shardTokens estimated tokens of one task
 * @param checkpointRows rows that are written together at most; 0 is any number
 * @param pricePerHour of an executor, for the report; 0 is not known
 * @param logPrompts whether logs may say what prompts say
 * @param checkpointSeconds about how long results may wait to be written
 */
public record RunConfig(
        @Nullable String input,
        @Nullable String inputFormat,
        String output,
        String outputFormat,
        String mode,
        List<String> keepColumns,
        @Nullable String promptTemplate,
        ChatOptions chat,
        ModelSpec model,
        @Nullable String sampling,
        int topLogprobs,
        OnTooLong onTooLong,
        boolean returnTokenIds,
        boolean prefixCaching,
        long shardTokens,
        long checkpointRows,
        long checkpointSeconds,
        double pricePerHour,
        boolean logPrompts) {
    /** Formats of files whose rows can be found again by the file that they are in. */
    private static final List<String> FILES = List.of("parquet", "jsonl", "orc");
    /** And tables that can delete rows. */
    private static final List<String> RESUMABLE = List.of("parquet", "jsonl", "orc", "delta", "table");

    public RunConfig {
        if (shardTokens < 1) {
            throw new IllegalArgumentException(
                    "Cannot use shard-tokens %d: expected at least 1".formatted(shardTokens));
        }
        if (!List.of("auto", "errorifexists", "overwrite", "append", "resume").contains(mode)) {
            throw new IllegalArgumentException(
                    "Cannot use mode '%s', expected auto, errorifexists, overwrite, append or resume".formatted(mode));
        }
        if (mode.equals("resume") && !RESUMABLE.contains(outputFormat)) {
            throw new IllegalArgumentException(
                    "Cannot resume into the format '%s', expected one of %s".formatted(outputFormat, RESUMABLE));
        }
        if (checkpointRows < 0 || checkpointSeconds < 1) {
            throw new IllegalArgumentException("Cannot write every %d rows or %d seconds: expected at least 0 and 1"
                    .formatted(checkpointRows, checkpointSeconds));
        }
        if (topLogprobs < 0) {
            throw new IllegalArgumentException("Cannot use top-logprobs %d: expected 0 or more".formatted(topLogprobs));
        }
    }

    /** The same with what was left to the model decided. */
    public RunConfig sized(ModelSize size) {
        return new RunConfig(
                input,
                inputFormat,
                output,
                outputFormat,
                mode,
                keepColumns,
                promptTemplate,
                chat,
                model.with(model.limits().chosen(size.expertShare())),
                sampling,
                topLogprobs,
                onTooLong,
                returnTokenIds,
                prefixCaching,
                shardTokens,
                checkpointRows,
                checkpointSeconds,
                pricePerHour,
                logPrompts);
    }

    /** Whether an output that a run of this kind has begun could be resumed. */
    boolean isResumable() {
        return RESUMABLE.contains(outputFormat);
    }

    /** Whether the output is files alone, so that rows go by rewriting files; else the table itself deletes them. */
    boolean isFiles() {
        return FILES.contains(outputFormat);
    }

    /** Whether only classes of ours and Spark's go between executors. */
    public boolean knowsItsClasses() {
        return isFiles() || outputFormat.equals("arrow") || outputFormat.equals("csv");
    }

    /** Whether the output has a folder, for the manifest and the report. */
    boolean hasFolder() {
        return !outputFormat.equals("table");
    }
}
