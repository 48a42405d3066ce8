package io.nightmill.jobs;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalOptions;
import io.nightmill.jobs.eval.Evaluator;
import io.nightmill.pipeline.ChatOptions;
import io.nightmill.pipeline.OnTooLong;
import io.nightmill.pipeline.RunConfig;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Tasks of lm-evaluation-harness, by its option names. */
@Command(
        name = "evaluate",
        description = "Runs lm-evaluation-harness tasks and writes its results and samples.",
        sortOptions = false)
public final class EvaluateJob implements Callable<Integer> {
    private static final int FEWSHOT_SEED_PLACE = 3;

    @Option(
            names = {"--model", "--models"},
            required = true,
            split = ",",
            paramLabel = "PATH",
            description = "Hugging Face folders or .gguf files; several are compared")
    private List<String> models = new ArrayList<>();

    @Option(
            names = "--tasks",
            required = true,
            split = ",",
            paramLabel = "NAME",
            description = "tasks, groups, tags, patterns such as mmlu_*, or task files")
    private List<String> tasks = new ArrayList<>();

    @Option(
            names = {"--tasks-dir", "--include-path", "--include_path"},
            required = true,
            split = ",",
            paramLabel = "DIR",
            description = "folders with task files")
    private List<Path> tasksDir = new ArrayList<>();

    @Option(
            names = "--data-dir",
            required = true,
            paramLabel = "DIR",
            description =
                    "folder with datasets, by their Hugging Face names; a local path, or any URI that Hadoop reads")
    private String dataDir = "";

    @Option(
            names = {"--output", "--output-path", "--output_path"},
            required = true,
            paramLabel = "DIR",
            description = "folder for results; what a run has begun there is resumed")
    private String output = "";

    @Option(
            names = {"--num-fewshot", "--num_fewshot"},
            paramLabel = "N",
            description = "examples before each question (default: as the task says)")
    @Nullable
    private Integer numFewshot;

    @Option(
            names = "--limit",
            paramLabel = "N",
            description = "the first so many documents of each task, or below 1 that share of them")
    @Nullable
    private Double limit;

    @Option(
            names = {"--apply-chat-template", "--apply_chat_template"},
            description = "prompts are chats in the model's own template")
    private boolean applyChatTemplate;

    @Option(
            names = {"--fewshot-as-multiturn", "--fewshot_as_multiturn"},
            negatable = true,
            fallbackValue = "true",
            description = "examples are turns of the chat (default: where prompts are chats)")
    @Nullable
    private Boolean fewshotAsMultiturn;

    @Option(
            names = {"--system-instruction", "--system_instruction"},
            paramLabel = "TEXT",
            description = "stands before everything else")
    @Nullable
    private String systemInstruction;

    @Option(
            names = {"--gen-kwargs", "--gen_kwargs"},
            split = ",",
            paramLabel = "K=V",
            description =
                    "go before the tasks' generation_kwargs, such as max_gen_toks=128,temperature=0.7,do_sample=true")
    private List<String> genKwargs = new ArrayList<>();

    @Option(
            names = "--seed",
            split = ",",
            defaultValue = "0,1234,1234,1234",
            paramLabel = "N",
            description =
                    "one seed for all, or the harness's four, of which the last draws examples (default: ${DEFAULT-VALUE})")
    private List<Long> seeds = new ArrayList<>();

    @Option(
            names = "--bootstrap-iters",
            defaultValue = "100000",
            paramLabel = "N",
            description = "for standard errors without a closed form (default: ${DEFAULT-VALUE})")
    private int bootstrapIters;

    @Option(
            names = {"--add-bos-token", "--add_bos_token"},
            negatable = true,
            fallbackValue = "true",
            description =
                    "the harness's add_bos_token: begin prompts with the begin token, or not (default: as the tokenizer does)")
    @Nullable
    private Boolean addBosToken;

    @Option(
            names = {"--log-samples", "--log_samples"},
            negatable = true,
            defaultValue = "true",
            fallbackValue = "true",
            description = "write samples_*.jsonl beside the table of samples (default: yes)")
    private boolean logSamples;

    @Option(
            names = {"--confirm-run-unsafe-code", "--confirm_run_unsafe_code"},
            description = "run code that the model wrote, in the --code-sandbox")
    private boolean confirmRunUnsafeCode;

    @Option(
            names = "--code-sandbox",
            paramLabel = "COMMAND",
            description = "reads a program and shuts it in: docker run --rm -i --network none python:3.12 python -")
    @Nullable
    private String codeSandbox;

    @Option(
            names = "--mode",
            defaultValue = "auto",
            description = "auto (resume) or overwrite (default: ${DEFAULT-VALUE})")
    private String mode = "";

    @Mixin
    private EngineOptions engine;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description = "YAML file of these options, without the dashes before them")
    @Nullable
    String config;

    /** For a stock {@code spark-submit --class io.nightmill.jobs.EvaluateJob}. */
    public static void main(String[] args) {
        Nightmill.exit(new EvaluateJob(), args);
    }

    @Override
    public Integer call() {
        new Evaluator(tasksDir, tasks, options(), dataDir, output)
                .run(models, this::config, run -> SparkRun.session("nightmill evaluate", run));
        return 0;
    }

    private EvalOptions options() {
        if (confirmRunUnsafeCode != (codeSandbox != null)) {
            throw new IllegalArgumentException(
                    "Cannot run generated code: expected both --confirm-run-unsafe-code and --code-sandbox");
        }
        return new EvalOptions(
                numFewshot,
                limit,
                applyChatTemplate,
                engine.chat(),
                fewshotAsMultiturn == null ? applyChatTemplate : fewshotAsMultiturn,
                systemInstruction,
                kwargs(),
                seeds.size() == 1 ? seeds.get(0) : fewshotSeed(),
                bootstrapIters,
                addBosToken,
                logSamples,
                codeSandbox);
    }

    private long fewshotSeed() {
        if (seeds.size() != FEWSHOT_SEED_PLACE + 1) {
            throw new IllegalArgumentException("Cannot use seed %s: expected one number, or four".formatted(seeds));
        }
        return seeds.get(FEWSHOT_SEED_PLACE);
    }

    /** Values as the harness reads them: numbers and booleans where they look so. */
    private ObjectNode kwargs() {
        ObjectNode kwargs = new ObjectMapper().createObjectNode();
        for (String pair : genKwargs) {
            int equals = pair.indexOf('=');
            if (equals < 1) {
                throw new IllegalArgumentException("Cannot use gen-kwargs '%s': expected name=value".formatted(pair));
            }
            String name = pair.substring(0, equals);
            String value = pair.substring(equals + 1);
            if (value.matches("(?i)true|false")) {
                kwargs.put(name, Boolean.parseBoolean(value));
            } else if (value.matches("-?\\d{1,9}")) {
                kwargs.put(name, Integer.parseInt(value));
            } else if (value.matches("-?\\d*\\.?\\d+([eE]-?\\d+)?")) {
                kwargs.put(name, Double.parseDouble(value));
            } else {
                kwargs.put(name, value);
            }
        }
        return kwargs;
    }

    private RunConfig config(String model) {
        if (!List.of("auto", "overwrite").contains(mode)) {
            throw new IllegalArgumentException("Cannot use mode '%s', expected auto or overwrite".formatted(mode));
        }
        return new RunConfig(
                null,
                null,
                Evaluator.folder(output, model) + "/responses",
                "parquet",
                mode,
                List.of(),
                null,
                ChatOptions.MODELS_OWN,
                engine.model(model),
                "{}",
                0,
                OnTooLong.ERROR,
                false,
                engine.prefixCaching,
                engine.shardTokens,
                engine.checkpointRows(),
                engine.checkpointSeconds(),
                engine.pricePerHour,
                engine.logPrompts);
    }
}
