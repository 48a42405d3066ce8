package io.nightmill.jobs;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Prompts to completions. */
@Command(name = "generate", description = "Writes completions of a table of prompts.", sortOptions = false)
public class GenerateJob implements Callable<Integer> {
    @Mixin
    private RunOptions run;

    @Mixin
    private SamplingOptions sampling;

    @Option(
            names = "--return-token-ids",
            arity = "0..1",
            fallbackValue = "true",
            description = "report the prompt's token ids too (default: false)")
    private boolean returnTokenIds;

    /** For a stock {@code spark-submit --class io.nightmill.jobs.GenerateJob}. */
    public static void main(String[] args) {
        Nightmill.exit(new GenerateJob(), args);
    }

    @Override
    public Integer call() {
        return run("nightmill generate", run.dryRun);
    }

    final int run(String name, boolean dryRun) {
        return SparkRun.run(name, run.config(sampling.json(), 0, returnTokenIds), dryRun);
    }
}
