package io.nightmill.jobs;

import io.nightmill.pipeline.OnTooLong;
import io.nightmill.pipeline.RunConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that every run has. */
final class RunOptions {
    @Mixin
    private EngineOptions engine;

    @Option(
            names = "--model",
            required = true,
            paramLabel = "PATH",
            description = "Hugging Face folder or .gguf file; a local path, or any URI that Hadoop reads")
    String model = "";

    @Option(names = "--input", required = true, paramLabel = "PATH", description = "table of prompts")
    String input = "";

    @Option(
            names = "--input-format",
            paramLabel = "NAME",
            description = "jsonl, parquet, csv, orc, arrow, table, or any Spark format (default: by the extension)")
    @Nullable
    String inputFormat;

    @Option(names = "--output", required = true, paramLabel = "PATH", description = "table of results")
    String output = "";

    @Option(
            names = "--output-format",
            paramLabel = "NAME",
            defaultValue = "parquet",
            description = "parquet, jsonl, orc, arrow, table, or any Spark format (default: ${DEFAULT-VALUE})")
    String outputFormat = "";

    @Option(
            names = "--mode",
            defaultValue = "auto",
            description =
                    "when the output exists: errorifexists, overwrite, append, resume, or auto: resume what a run has"
                            + " begun, else fail (default: ${DEFAULT-VALUE})")
    String mode = "";

    @Option(
            names = "--resume",
            description = "compute only the rows that the output lacks, or that failed or changed: --mode resume")
    boolean resume;

    @Option(names = "--keep-columns", split = ",", paramLabel = "A,B", description = "input columns to carry through")
    List<String> keepColumns = new ArrayList<>();

    @Option(
            names = "--prompt-template",
            paramLabel = "TEXT",
            description = "prompt built from columns, such as \"Summarise: {{text}}\"")
    @Nullable
    String promptTemplate;

    @Option(
            names = "--on-too-long",
            defaultValue = "error",
            description =
                    "a prompt longer than the context: error, truncate-left or truncate-right (default: ${DEFAULT-VALUE})")
    String onTooLong = "";

    @Option(names = "--dry-run", description = "say what would be done, and do nothing")
    boolean dryRun;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description = "YAML file of these options, without the dashes before them")
    @Nullable
    String config;

    RunConfig config(@Nullable String sampling, int topLogprobs, boolean returnTokenIds) {
        return new RunConfig(
                input,
                inputFormat,
                output,
                outputFormat,
                resume ? "resume" : mode.toLowerCase(Locale.ROOT),
                keepColumns,
                promptTemplate,
                engine.chat(),
                engine.model(model),
                sampling,
                topLogprobs,
                OnTooLong.of(onTooLong),
                returnTokenIds,
                engine.prefixCaching,
                engine.shardTokens,
                engine.checkpointRows(),
                engine.checkpointSeconds(),
                engine.pricePerHour,
                engine.logPrompts);
    }
}
