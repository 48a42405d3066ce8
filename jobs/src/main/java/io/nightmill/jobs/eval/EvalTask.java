package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * A task of lm-evaluation-harness as its file and the command line say, with the harness's defaults. The fields that a document is
 * asked for ({@code doc_to_*}) stay as they are written: a column's name, a template, a number, a list, or a function.
 *
 * @param config all keys, for the results
 * @param metrics at least one
 */
record EvalTask(
        String name,
        String alias,
        OutputType outputType,
        Dataset dataset,
        FewShot fewShot,
        Fields fields,
        String description,
        String targetDelimiter,
        String fewshotDelimiter,
        @Nullable String genPrefix,
        ObjectNode generation,
        List<MetricConfig> metrics,
        @Nullable String processDocs,
        @Nullable String processResults,
        List<FilterConfig> filters,
        int repeats,
        boolean unsafeCode,
        JsonNode version,
        ObjectNode config)
        implements Serializable {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Set<String> KNOWN = Set.of(
            "task",
            "task_alias",
            "tag",
            "group",
            "custom_dataset",
            "dataset_path",
            "dataset_name",
            "dataset_kwargs",
            "training_split",
            "validation_split",
            "test_split",
            "fewshot_split",
            "process_docs",
            "doc_to_text",
            "doc_to_target",
            "doc_to_choice",
            "doc_to_image",
            "doc_to_audio",
            "use_prompt",
            "description",
            "target_delimiter",
            "fewshot_delimiter",
            "fewshot_config",
            "gen_prefix",
            "num_fewshot",
            "output_type",
            "generation_kwargs",
            "metric_list",
            "process_results",
            "repeats",
            "filter_list",
            "should_decontaminate",
            "doc_to_decontamination_query",
            "unsafe_code",
            "metadata");
    private static final Set<String> UNSUPPORTED =
            Set.of("custom_dataset", "doc_to_image", "doc_to_audio", "use_prompt");
    private static final List<String> FEWSHOT_KEYS = List.of(
            "sampler",
            "split",
            "process_docs",
            "fewshot_indices",
            "samples",
            "doc_to_text",
            "doc_to_target",
            "doc_to_choice",
            "gen_prefix",
            "fewshot_delimiter",
            "target_delimiter");

    enum OutputType {
        LOGLIKELIHOOD,
        LOGLIKELIHOOD_ROLLING,
        MULTIPLE_CHOICE,
        GENERATE_UNTIL;

        static OutputType of(String name) {
            for (OutputType type : values()) {
                if (type.label().equals(name)) {
                    return type;
                }
            }
            throw new IllegalArgumentException(
                    "output_type '%s' is not one of loglikelihood, loglikelihood_rolling, multiple_choice, generate_until"
                            .formatted(name));
        }

        String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Where the documents are. Splits are null where the task has none. */
    record Dataset(
            String path,
            @Nullable String name,
            ObjectNode kwargs,
            @Nullable String training,
            @Nullable String validation,
            @Nullable String test)
            implements Serializable {
        /** The split that is evaluated. */
        String evaluated() {
            return test != null ? test : String.valueOf(validation);
        }
    }

    /** What a document is asked for. */
    record Fields(JsonNode text, JsonNode target, @Nullable JsonNode choice) implements Serializable {}

    /**
     * Examples before the question.
     *
     * @param samples given in the file, or null: then they come of a split
     * @param firstN whether the first are taken, instead of a draw
     * @param indices of the split's documents that may be drawn; empty is all
     */
    record FewShot(
            int count,
            @Nullable String split,
            @Nullable ArrayNode samples,
            boolean firstN,
            List<Integer> indices,
            Fields fields,
            @Nullable String genPrefix,
            String fewshotDelimiter,
            String targetDelimiter,
            @Nullable String processDocs)
            implements Serializable {}

    /** @param function {@code null}, or the metric's counterpart in {@link TaskFunctions} */
    record MetricConfig(
            String name,
            @Nullable String function,
            @Nullable String aggregation,
            @Nullable Boolean higherIsBetter,
            ObjectNode options)
            implements Serializable {}

    /** Steps, each an object with {@code function} and its arguments. */
    record FilterConfig(String name, List<ObjectNode> steps) implements Serializable {}

    /** What the command line says of every task. */
    record Overrides(@Nullable Integer numFewshot, ObjectNode genKwargs) {}

    /**
     * @param config keys of the file and of what it includes
     * @throws IllegalArgumentException naming the task and the key
     */
    static EvalTask of(ObjectNode config, Overrides overrides) {
        String name = config.path("task").asText();
        try {
            return new Reader(name, config.deepCopy()).read(overrides);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("Cannot use the task %s: %s".formatted(name, e.getMessage()), e);
        }
    }

    boolean hasMetric(String metric) {
        return metrics.stream().anyMatch(m -> m.name().equals(metric));
    }

    private record Reader(String name, ObjectNode config) {

        EvalTask read(Overrides overrides) {
            config.fieldNames().forEachRemaining(key -> {
                if (!KNOWN.contains(key)) {
                    throw new IllegalArgumentException(
                            "it has the key '%s', expected one of %s".formatted(key, new TreeSet<>(KNOWN)));
                }
                if (UNSUPPORTED.contains(key) && !config.path(key).isNull()) {
                    throw new IllegalArgumentException("it needs '%s', which is not there".formatted(key));
                }
            });
            OutputType type = OutputType.of(config.path("output_type").asText("generate_until"));
            String fewshotDelimiter = config.path("fewshot_delimiter").asText("\n\n");
            Fields fields = new Fields(
                    config.path("doc_to_text").isMissingNode()
                            ? JSON.getNodeFactory().textNode("")
                            : config.get("doc_to_text"),
                    config.path("doc_to_target").isMissingNode() ? NullNode.instance : config.get("doc_to_target"),
                    nullable(config.get("doc_to_choice")));
            if (fields.target().isNull()) {
                throw new IllegalArgumentException("it has no doc_to_target");
            }
            if (overrides.numFewshot() != null && config.path("num_fewshot").asInt(-1) != 0) {
                config.put("num_fewshot", overrides.numFewshot());
            }
            Dataset dataset = new Dataset(
                    config.path("dataset_path").asText(""),
                    text("dataset_name"),
                    config.path("dataset_kwargs") instanceof ObjectNode kwargs ? kwargs : JSON.createObjectNode(),
                    text("training_split"),
                    text("validation_split"),
                    text("test_split"));
            if (dataset.path().isEmpty()) {
                throw new IllegalArgumentException("it has no dataset_path");
            }
            if (dataset.test() == null && dataset.validation() == null) {
                throw new IllegalArgumentException("it has neither test_split nor validation_split");
            }
            return new EvalTask(
                    name,
                    config.path("task_alias").asText(name),
                    type,
                    dataset,
                    fewShot(fields),
                    fields,
                    config.path("description").asText(""),
                    config.path("target_delimiter").asText(" "),
                    fewshotDelimiter,
                    text("gen_prefix"),
                    generation(type, fewshotDelimiter, overrides.genKwargs()),
                    metrics(type),
                    function("process_docs"),
                    function("process_results"),
                    filters(),
                    config.path("repeats").asInt(1),
                    config.path("unsafe_code").asBoolean(false),
                    config.path("metadata").path("version"),
                    config);
        }

        private @Nullable String text(String key) {
            JsonNode value = config.path(key);
            return value.isMissingNode() || value.isNull() ? null : value.asText();
        }

        private static @Nullable JsonNode nullable(@Nullable JsonNode value) {
            return value == null || value.isNull() ? null : value;
        }

        private @Nullable String function(String key) {
            return functionOf(config.get(key), key);
        }

        private static @Nullable String functionOf(@Nullable JsonNode value, String key) {
            if (value == null || value.isNull()) {
                return null;
            }
            if (!value.has(TaskYaml.FUNCTION)) {
                throw new IllegalArgumentException("%s is %s, expected a !function".formatted(key, value));
            }
            return value.get(TaskYaml.FUNCTION).asText();
        }

        /** Of the examples, which have the task's unless they have their own. */
        private String delimiter(String key, String usual) {
            String ofTask = config.path(key).asText(usual);
            return config.path("fewshot_config").path(key).asText(ofTask);
        }

        private FewShot fewShot(Fields fields) {
            JsonNode own = config.path("fewshot_config");
            own.fieldNames().forEachRemaining(key -> {
                if (!FEWSHOT_KEYS.contains(key)) {
                    throw new IllegalArgumentException(
                            "fewshot_config has the key '%s', expected one of %s".formatted(key, FEWSHOT_KEYS));
                }
            });
            String sampler = own.path("sampler").asText("default");
            if (!List.of("default", "first_n").contains(sampler)) {
                throw new IllegalArgumentException(
                        "the sampler '%s' is neither default nor first_n".formatted(sampler));
            }
            JsonNode samples = own.path("samples");
            if (!samples.isMissingNode() && !samples.isArray()) {
                throw new IllegalArgumentException("fewshot_config.samples is %s, expected a list".formatted(samples));
            }
            List<Integer> indices = new ArrayList<>();
            own.path("fewshot_indices").forEach(index -> indices.add(index.asInt()));
            String split = own.path("split").isTextual() ? own.path("split").asText() : text("fewshot_split");
            return new FewShot(
                    config.path("num_fewshot").asInt(0),
                    split,
                    samples.isArray() ? (ArrayNode) samples : null,
                    sampler.equals("first_n"),
                    indices,
                    new Fields(
                            own.has("doc_to_text") ? own.get("doc_to_text") : fields.text(),
                            own.has("doc_to_target") ? own.get("doc_to_target") : fields.target(),
                            own.has("doc_to_choice") ? nullable(own.get("doc_to_choice")) : fields.choice()),
                    own.path("gen_prefix").isTextual() ? own.path("gen_prefix").asText() : text("gen_prefix"),
                    delimiter("fewshot_delimiter", "\n\n"),
                    delimiter("target_delimiter", " "),
                    own.has("process_docs")
                            ? functionOf(own.get("process_docs"), "fewshot_config.process_docs")
                            : function("process_docs"));
        }

        private ObjectNode generation(OutputType type, String delimiter, ObjectNode given) {
            ObjectNode kwargs = JSON.createObjectNode();
            if (config.path("generation_kwargs") instanceof ObjectNode own) {
                kwargs.setAll(own);
                if (kwargs.has("temperature")) {
                    kwargs.put("temperature", kwargs.path("temperature").asDouble());
                }
                if (!kwargs.has("until")) {
                    kwargs.putArray("until").add(delimiter);
                }
            } else if (type == OutputType.GENERATE_UNTIL) {
                kwargs.putArray("until").add(delimiter);
                kwargs.put("do_sample", false).put("temperature", 0);
            }
            if (type == OutputType.GENERATE_UNTIL) {
                kwargs.setAll(given);
                config.set("generation_kwargs", kwargs);
            }
            return kwargs;
        }

        private List<MetricConfig> metrics(OutputType type) {
            List<MetricConfig> metrics = new ArrayList<>();
            for (JsonNode metric : config.path("metric_list")) {
                ObjectNode options = metric.deepCopy();
                JsonNode which = options.remove("metric");
                JsonNode aggregation = options.remove("aggregation");
                JsonNode better = options.remove("higher_is_better");
                options.remove("hf_evaluate");
                String function = which != null && which.has(TaskYaml.FUNCTION)
                        ? which.get(TaskYaml.FUNCTION).asText()
                        : null;
                if (function == null && (which == null || !which.isTextual())) {
                    throw new IllegalArgumentException("metric_list has an entry without a metric: " + metric);
                }
                metrics.add(new MetricConfig(
                        function == null ? which.asText() : function.substring(function.lastIndexOf('.') + 1),
                        function,
                        aggregation == null
                                ? null
                                : aggregation.has(TaskYaml.FUNCTION)
                                        ? aggregation.get(TaskYaml.FUNCTION).asText()
                                        : aggregation.asText(),
                        better == null || better.isNull() ? null : better.asBoolean(),
                        options));
            }
            if (metrics.isEmpty()) {
                defaults(type)
                        .forEach(
                                name -> metrics.add(new MetricConfig(name, null, null, null, JSON.createObjectNode())));
            }
            return metrics;
        }

        /** The harness's metrics of a task that names none. */
        private static List<String> defaults(OutputType type) {
            return switch (type) {
                case LOGLIKELIHOOD -> List.of("perplexity", "acc");
                case LOGLIKELIHOOD_ROLLING -> List.of("word_perplexity", "byte_perplexity", "bits_per_byte");
                case MULTIPLE_CHOICE -> List.of("acc", "acc_norm");
                case GENERATE_UNTIL -> List.of("exact_match");
            };
        }

        private List<FilterConfig> filters() {
            List<FilterConfig> filters = new ArrayList<>();
            for (JsonNode filter : config.path("filter_list")) {
                List<ObjectNode> steps = new ArrayList<>();
                filter.path("filter").forEach(step -> steps.add(step.deepCopy()));
                filters.add(new FilterConfig(filter.path("name").asText("none"), steps));
            }
            if (filters.isEmpty()) {
                filters.add(
                        new FilterConfig("none", List.of(JSON.createObjectNode().put("function", "take_first"))));
            }
            return filters;
        }
    }
}
