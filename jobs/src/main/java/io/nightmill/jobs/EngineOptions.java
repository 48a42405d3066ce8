package io.nightmill.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nightmill.engine.DraftModel;
import io.nightmill.engine.Limits;
import io.nightmill.engine.PromptLookup;
import io.nightmill.engine.Speculation;
import io.nightmill.pipeline.ChatOptions;
import io.nightmill.runtime.DeviceSpec;
import io.nightmill.runtime.Devices;
import io.nightmill.runtime.ModelSpec;
import io.nightmill.tensor.KvType;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options of how a model runs, whatever it is asked. */
final class EngineOptions {
    private static final Set<String> SPECULATIVE_KEYS = new TreeSet<>(
            Set.of("method", "model", "num_speculative_tokens", "prompt_lookup_max", "prompt_lookup_min"));
    private static final Pattern BYTES = Pattern.compile("(\\d+)\\s*([kmgt]?)(i?b)?", Pattern.CASE_INSENSITIVE);

    @Option(
            names = "--checkpoint-interval",
            split = ",",
            paramLabel = "N",
            defaultValue = "600s",
            description =
                    "how often results are written: about every so many seconds (600s), or at the latest after so many"
                            + " rows (5000), or both (5000,60s) (default: ${DEFAULT-VALUE})")
    List<String> checkpointInterval = new ArrayList<>();

    @Option(
            names = "--chat-template",
            paramLabel = "FILE",
            description = "Jinja template for messages (default: the model's own)")
    @Nullable
    Path chatTemplate;

    @Option(
            names = {"--chat-template-kwargs", "--default-chat-template-kwargs"},
            paramLabel = "JSON",
            defaultValue = "{}",
            description = "the chat template's own names, such as '{\"enable_thinking\":false}'; a row's column"
                    + " chat_template_kwargs goes before (default: none)")
    String chatTemplateKwargs = "";

    @Option(
            names = "--dtype",
            defaultValue = "auto",
            description =
                    "arithmetic of the large products: auto and f32 (exact, in float32), bf16, int8 (bytes with a factor"
                            + " per output, activations of fifteen bits), or int4 (four bits with a factor per 32 inputs) (default: ${DEFAULT-VALUE})")
    String dtype = "";

    @Option(
            names = "--kv-memory",
            paramLabel = "BYTES",
            defaultValue = "auto",
            description = "memory of an executor for keys and values, such as 4g (default: 40% of its heap)")
    String kvMemory = "";

    @Option(
            names = {"--kv-dtype", "--kv-cache-dtype"},
            defaultValue = "auto",
            description =
                    "how keys and values are held: f32, bf16 or int8 (default: f32 with --dtype auto or f32, else bf16)")
    String kvDtype = "";

    @Option(
            names = {"--speculative-config", "--speculative_config"},
            paramLabel = "JSON",
            description = "guess tokens ahead, keeping the output as it is: from what stood earlier in the row,"
                    + " '{\"method\":\"ngram\",\"num_speculative_tokens\":4,\"prompt_lookup_max\":4}', or by a smaller model"
                    + " of the same vocabulary, '{\"method\":\"draft_model\",\"model\":\"PATH\",\"num_speculative_tokens\":4}';"
                    + " not for models with recurrent layers (default: none)")
    String speculativeConfig = "";

    @Option(
            names = "--max-num-seqs",
            paramLabel = "N",
            defaultValue = "auto",
            description =
                    "sequences that run together in an executor (default: 64, or as many as fill a model's experts)")
    String maxNumSeqs = "";

    @Option(
            names = "--max-num-batched-tokens",
            paramLabel = "N",
            defaultValue = "auto",
            description = "tokens of one step (default: 512, or as many as fill a model's experts)")
    String maxNumBatchedTokens = "";

    @Option(
            names = "--device",
            defaultValue = "auto",
            description =
                    "auto (a GPU where Spark gives one, or in local mode the machine has one, else the CPU), cpu, opencl, or"
                            + " opencl:n as './nightmill devices' counts (default: ${DEFAULT-VALUE})")
    String device = "";

    @Option(
            names = "--device-memory-fraction",
            paramLabel = "F",
            defaultValue = "0.9",
            description = "of a GPU's memory that may be used (default: ${DEFAULT-VALUE})")
    double deviceMemoryFraction;

    @Option(
            names = "--on-device-loss",
            defaultValue = "fail",
            description =
                    "a device that is lost: fail the job, go on with the cpu, or retry it (default: ${DEFAULT-VALUE})")
    String onDeviceLoss = "";

    @Option(
            names = "--threads",
            paramLabel = "N",
            defaultValue = "0",
            description = "threads of an executor's engine (default: its cores)")
    int threads;

    @Option(
            names = "--step-timeout",
            paramLabel = "SECONDS",
            defaultValue = "600",
            description =
                    "a step that takes longer is given up, and its executor with it; 0 waits (default: ${DEFAULT-VALUE})")
    long stepTimeout;

    @Option(
            names = "--shard-tokens",
            paramLabel = "N",
            defaultValue = "200000",
            description = "estimated tokens of one task (default: ${DEFAULT-VALUE})")
    long shardTokens;

    @Option(
            names = {"--enable-prefix-caching", "--enable_prefix_caching"},
            negatable = true,
            defaultValue = "true",
            fallbackValue = "true",
            description = "compute what prompts begin with alike once (default: yes)")
    boolean prefixCaching;

    @Option(
            names = "--price-per-hour",
            paramLabel = "PRICE",
            defaultValue = "0",
            description = "of an executor, in any currency: the report says what the run cost")
    double pricePerHour;

    @Option(names = "--log-prompts", description = "log prompts beside the ids of their rows (default: ids only)")
    boolean logPrompts;

    ModelSpec model(String path) {
        Precision precision = Precision.of(dtype);
        KvType kvType = precision.kvType(kvDtype);
        Limits limits = new Limits(
                kvMemory.equals("auto") ? 0 : bytes(kvMemory),
                kvType,
                count("max-num-seqs", maxNumSeqs),
                count("max-num-batched-tokens", maxNumBatchedTokens),
                speculation());
        ModelSpec asked = new ModelSpec(
                absolute(path),
                precision,
                limits,
                threads,
                stepTimeout,
                DeviceSpec.of(device, deviceMemoryFraction, onDeviceLoss));
        SparkConf conf = new SparkConf();
        Devices.Choice choice = Devices.choose(
                asked,
                conf.get("spark.master", "local").startsWith("local"),
                conf.getInt("spark.executor.resource.gpu.amount", 0) > 0);
        if (!choice.reason().isEmpty()) {
            System.err.printf("Device: %s, since %s%n", choice.spec().device().device(), choice.reason());
        }
        return choice.spec();
    }

    /** A positive number, or 0 for auto. */
    private static int count(String option, String text) {
        if (!text.matches("auto|[1-9]\\d{0,8}")) {
            throw new IllegalArgumentException(
                    "Cannot use %s '%s', expected auto or a number from 1 on".formatted(option, text));
        }
        return text.equals("auto") ? 0 : Integer.parseInt(text);
    }

    private Speculation speculation() {
        if (speculativeConfig.isEmpty()) {
            return Speculation.NONE;
        }
        ConfigNode config;
        try {
            config = ConfigNode.of(new ObjectMapper().readTree(speculativeConfig), "speculative-config");
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    "Cannot read speculative-config '%s' as JSON: %s"
                            .formatted(speculativeConfig, e.getOriginalMessage()),
                    e);
        }
        config.json().fieldNames().forEachRemaining(key -> {
            if (!SPECULATIVE_KEYS.contains(key)) {
                throw new IllegalArgumentException(
                        "Cannot use speculative-config key '%s', expected one of %s".formatted(key, SPECULATIVE_KEYS));
            }
        });
        int tokens = config.requireInt("num_speculative_tokens");
        String method = config.textOr("method", config.has("model") ? "draft_model" : "ngram");
        return switch (method) {
            case "draft_model" -> new DraftModel(absolute(config.requireText("model")), tokens);
            case "ngram" -> {
                int longest = config.intOr("prompt_lookup_max", 4);
                yield new PromptLookup(tokens, longest, config.intOr("prompt_lookup_min", Math.min(2, longest)));
            }
            default -> throw new IllegalArgumentException(
                    "Cannot speculate by method '%s', expected ngram or draft_model".formatted(method));
        };
    }

    /** @throws IllegalArgumentException if the template cannot be read, or is none */
    ChatOptions chat() {
        try {
            String template = chatTemplate == null ? null : Files.readString(chatTemplate);
            return ChatOptions.checked(template, chatTemplateKwargs);
        } catch (IOException e) {
            throw new IllegalArgumentException("Cannot read --chat-template %s: %s".formatted(chatTemplate, e), e);
        }
    }

    long checkpointRows() {
        return interval(false, 0);
    }

    long checkpointSeconds() {
        return interval(true, 600);
    }

    private long interval(boolean seconds, long otherwise) {
        for (String part : checkpointInterval) {
            if (!part.matches("\\d{1,12}s?")) {
                throw new IllegalArgumentException(
                        "Cannot use checkpoint-interval '%s', expected rows such as 5000, seconds such as 600s, or both"
                                .formatted(part));
            }
            if (part.endsWith("s") == seconds) {
                return Long.parseLong(part.replace("s", ""));
            }
        }
        return otherwise;
    }

    /** Executors have other working directories than the user. */
    private static String absolute(String path) {
        boolean isUri = path.matches("[a-zA-Z][a-zA-Z0-9+.-]+:.*");
        return isUri ? path : Path.of(path).toAbsolutePath().normalize().toString();
    }

    /** Bytes with Spark's suffixes: 512m, 4g. */
    static long bytes(String text) {
        Matcher matcher = BYTES.matcher(text.trim());
        if (!matcher.matches()) {
            throw new IllegalArgumentException(
                    "Cannot read '%s' as bytes, expected such as 512m or 4g".formatted(text));
        }
        int power = "kmgt".indexOf(matcher.group(2).toLowerCase(Locale.ROOT)) + 1;
        return matcher.group(2).isEmpty()
                ? Long.parseLong(matcher.group(1))
                : Math.multiplyExact(Long.parseLong(matcher.group(1)), 1L << 10 * power);
    }
}
