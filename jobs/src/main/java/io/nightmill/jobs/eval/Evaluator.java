package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.ModelSize;
import io.nightmill.models.ModelText;
import io.nightmill.pipeline.Inference;
import io.nightmill.pipeline.ModelFiles;
import io.nightmill.pipeline.RunConfig;
import io.nightmill.text.Tokenizer;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/** Tasks for models, one model after the other, each with a Spark session of its own. */
public final class Evaluator {
    private final List<TaskTree> roots;
    private final EvalOptions options;
    private final String dataDir;
    private final String output;

    /** @throws IllegalArgumentException naming a task, group or tag that is not there, or a task that cannot be used */
    public Evaluator(List<Path> taskFolders, List<String> tasks, EvalOptions options, String dataDir, String output) {
        this.roots = new TaskIndex(taskFolders, new EvalTask.Overrides(options.numFewshot(), options.genKwargs()))
                .resolve(tasks);
        this.options = options;
        this.dataDir = dataDir;
        this.output = output;
        for (EvalTask task : TaskTree.tasks(roots)) {
            if (task.unsafeCode() && options.sandbox() == null) {
                System.err.printf(
                        "%s judges code by running it. None is run, and there will be no figure: give --confirm-run-unsafe-code"
                                + " and a --code-sandbox%n",
                        task.name());
            }
        }
    }

    /** @param config of a model, into a folder of its own */
    public void run(
            List<String> models, Function<String, RunConfig> config, Function<RunConfig, SparkSession> session) {
        ModelComparison comparison = new ModelComparison();
        SparkSession spark = null;
        try {
            for (String model : models) {
                RunConfig asked = config.apply(model);
                ModelSize size = Inference.check(asked);
                RunConfig run = asked.sized(size);
                ModelText text = ModelFiles.textOnDriver(run.model().path());
                requireText(text, model);
                TaskTree.tasks(roots).forEach(task -> Evaluation.check(task, size.contextLength()));
                if (spark != null) {
                    // An executor has one model; the next begins with new ones.
                    spark.stop();
                }
                spark = session.apply(run);
                EvalResults results = evaluate(spark, model, run, size, text);
                comparison.add(model, results);
            }
            if (models.size() > 1) {
                write(spark, output + "/comparison.json", comparison.json().toPrettyString());
                System.out.println(comparison.table());
            }
        } finally {
            if (spark != null) {
                spark.stop();
            }
        }
    }

    private void requireText(ModelText text, String model) {
        if (text.tokenizer() == null) {
            throw new IllegalArgumentException("Cannot evaluate %s: it has no tokenizer".formatted(model));
        }
        if (options.applyChatTemplate()) {
            options.chat().template(text);
        }
    }

    /** The folder of a model's results, as the harness names it. */
    public static String folder(String output, String model) {
        return output + "/" + sanitized(model);
    }

    private static String sanitized(String model) {
        return model.replaceAll("[\"<>:/|\\\\?*\\[\\]]+", "__");
    }

    private EvalResults evaluate(SparkSession spark, String model, RunConfig run, ModelSize size, ModelText text) {
        long start = System.nanoTime();
        LocalDateTime now = LocalDateTime.now();
        String stamp = now.format(DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH-mm-ss.SSSSSS", Locale.ROOT));
        String folder = folder(output, model);
        Evaluation.Outcome outcome =
                Evaluation.run(spark, TaskTree.tasks(roots), options, dataDir, run, size, folder, stamp);
        EvalResults results = new EvalResults(roots, outcome, options.bootstrapIters());
        ObjectNode json = results.json();
        describe(json, model, run, size, text, spark.version());
        json.set("nightmill", outcome.report());
        json.put("total_evaluation_time_seconds", Double.toString((System.nanoTime() - start) / 1e9));
        write(spark, folder + "/results_" + stamp + ".json", json.toPrettyString());
        say(model, outcome, results, folder);
        return results;
    }

    private void describe(ObjectNode json, String model, RunConfig run, ModelSize size, ModelText text, String spark) {
        ObjectNode config = json.putObject("config");
        config.put("model", "nightmill").put("model_args", "pretrained=" + model);
        config.put("model_num_parameters", size.parameters());
        config.put("model_dtype", run.model().precision().name().toLowerCase(Locale.ROOT));
        config.put("model_revision", "")
                .put("model_sha", ModelFiles.contentHash(run.model().path()));
        config.put("batch_size", run.model().limits().maxNumSeqs());
        config.putArray("batch_sizes");
        config.put("device", "cpu").putNull("use_cache");
        config.put("limit", options.limit()).put("bootstrap_iters", options.bootstrapIters());
        config.set("gen_kwargs", options.genKwargs());
        config.put("random_seed", 0)
                .put("numpy_seed", 1234)
                .put("torch_seed", 1234)
                .put("fewshot_seed", options.fewshotSeed());
        json.putNull("git_hash");
        json.put("date", System.currentTimeMillis() / 1000.0);
        json.put(
                "pretty_env_info",
                "Spark %s, Java %s, %s %s"
                        .formatted(
                                spark,
                                System.getProperty("java.version"),
                                System.getProperty("os.name"),
                                System.getProperty("os.arch")));
        json.putNull("transformers_version");
        json.put("lm_eval_version", "0.4.13 (nightmill)").putNull("upper_git_hash");
        ObjectNode special = EvalDocuments.object(text.specialTokens());
        for (String name : List.of("pad", "eos", "bos")) {
            String token = special.path(name + "_token").asText("");
            Integer id = id(text.tokenizer(), token);
            json.putArray("tokenizer_%s_token".formatted(name))
                    .add(id == null ? null : token)
                    .add(id == null ? "None" : id.toString());
        }
        json.put("eot_token_id", id(text.tokenizer(), special.path("eos_token").asText("")));
        json.put("max_length", text.contextLength());
        json.put("model_source", "nightmill").put("model_name", model).put("model_name_sanitized", sanitized(model));
        put(json, "system_instruction", options.systemInstruction());
        json.put("fewshot_as_multiturn", options.fewshotAsMultiturn());
        put(json, "chat_template", options.applyChatTemplate() ? text.template() : null);
    }

    /** A special token's id, or null where it is none. */
    static @Nullable Integer id(@Nullable Tokenizer tokenizer, String token) {
        int[] ids = tokenizer == null || token.isEmpty() ? new int[0] : tokenizer.encode(token, false);
        return ids.length == 1 ? ids[0] : null;
    }

    private static void put(ObjectNode json, String name, @Nullable String value) {
        json.put(name, value).put(name + "_sha", value == null ? null : Python.hash(value));
    }

    private static void say(String model, Evaluation.Outcome outcome, EvalResults results, String folder) {
        ObjectNode report = outcome.report();
        System.err.printf(
                Locale.ROOT,
                "%s requests of %d documents (%s were there already), %s prompt tokens, of which %s were shared, and %s completion tokens in"
                        + " %.1f s%n",
                report.at("/rows/in"),
                outcome.runs().stream().mapToLong(TaskRun::effective).sum(),
                report.at("/rows/kept"),
                report.at("/tokens/prompt"),
                report.at("/tokens/cached"),
                report.at("/tokens/completion"),
                report.at("/seconds/infer_and_write").doubleValue());
        outcome.figures().forEach((task, figures) -> figures.failed().entrySet().stream()
                .limit(1)
                .forEach(first -> System.err.printf(
                        "%s: %d documents have no answer and are in no figure, the first of them %d: %s%n",
                        task, figures.failed().size(), first.getKey(), first.getValue())));
        System.out.println(model);
        System.out.println(results.tables());
        System.err.println("Results: " + folder);
    }

    private static void write(SparkSession spark, String name, String text) {
        org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(name);
        try (OutputStream out =
                path.getFileSystem(spark.sessionState().newHadoopConf()).create(path, true)) {
            out.write(text.getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot write " + path, e);
        }
    }
}
