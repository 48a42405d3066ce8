package io.nightmill.jobs;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Log-probabilities of given text: of whole prompts, or of continuations after them. */
@Command(name = "score", description = "Writes log-probabilities of a table of texts.", sortOptions = false)
public final class ScoreJob implements Callable<Integer> {
    @Mixin
    private RunOptions run;

    @Option(
            names = "--top-logprobs",
            paramLabel = "K",
            defaultValue = "0",
            description = "the so many most likely tokens per position (default: none)")
    private int topLogprobs;

    /** For a stock {@code spark-submit --class io.nightmill.jobs.ScoreJob}. */
    public static void main(String[] args) {
        Nightmill.exit(new ScoreJob(), args);
    }

    @Override
    public Integer call() {
        return SparkRun.run("nightmill score", run.config(null, topLogprobs, false), run.dryRun);
    }
}
