package io.nightmill.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.ModelSize;
import io.nightmill.pipeline.Inference;
import io.nightmill.pipeline.NightmillKryo;
import io.nightmill.pipeline.NightmillPlugin;
import io.nightmill.pipeline.RunConfig;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.StreamSupport;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.SparkSession;

/** A checked run on a Spark session of its own, with Spark's settings that the run needs where the user gave none. */
final class SparkRun {
    private SparkRun() {}

    /** @param dryRun prints what would be done, and does nothing */
    static int run(String name, RunConfig asked, boolean dryRun) {
        ModelSize model = Inference.check(asked);
        RunConfig config = asked.sized(model);
        SparkSession spark = session(name, config);
        try {
            if (dryRun) {
                explain(Inference.explain(spark, config, model), model);
            } else {
                summarize(config, Inference.run(spark, config, model));
            }
            return 0;
        } finally {
            spark.stop();
        }
    }

    static SparkSession session(String name, RunConfig config) {
        SparkConf conf = new SparkConf()
                .setIfMissing("spark.app.name", name)
                .setIfMissing("spark.master", "local[*]")
                // oneDNN is called from the engine's own threads, one call each.
                .setIfMissing("spark.executorEnv.OMP_NUM_THREADS", "1")
                // Large pages for weights, as the launcher asks for.
                .setIfMissing("spark.executorEnv.GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
                // An executor that always fails, its disk full for one, is not to use up the attempts of others.
                .setIfMissing("spark.task.maxFailures", "12")
                .setIfMissing("spark.excludeOnFailure.enabled", "true")
                .setIfMissing("spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor", "4")
                .setIfMissing("spark.excludeOnFailure.task.maxTaskAttemptsPerNode", "8")
                .setIfMissing("spark.excludeOnFailure.stage.maxFailedTasksPerExecutor", "8")
                .setIfMissing("spark.excludeOnFailure.stage.maxFailedExecutorsPerNode", "8")
                // What failed in one stage may be mended in the next.
                .setIfMissing("spark.excludeOnFailure.application.maxFailedTasksPerExecutor", "1000")
                .setIfMissing("spark.excludeOnFailure.application.maxFailedExecutorsPerNode", "1000")
                .set("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
                // Connectors of table formats send classes of their own.
                .setIfMissing("spark.kryo.registrationRequired", String.valueOf(config.knowsItsClasses()))
                .set(NightmillPlugin.MODEL_KEY, config.model().format());
        join(conf, "spark.kryo.registrator", NightmillKryo.class.getName());
        join(conf, "spark.plugins", NightmillPlugin.class.getName());
        return SparkSession.builder().config(conf).getOrCreate();
    }

    /** Adds to a list of names, of which the user may have some. */
    private static void join(SparkConf conf, String key, String name) {
        String theirs = conf.get(key, "");
        conf.set(key, theirs.isEmpty() ? name : theirs + "," + name);
    }

    private static void explain(ObjectNode plan, ModelSize model) {
        System.out.printf(
                Locale.ROOT,
                "%s rows: %s to compute, %s there already, %s of them duplicates (mode %s)%n",
                plan.at("/rows/in"),
                plan.at("/rows/to_compute"),
                plan.at("/rows/kept"),
                plan.at("/rows/duplicates"),
                plan.path("mode").asText());
        long prompt = plan.at("/tokens/prompt").asLong();
        long shared = plan.at("/tokens/shared_prompt").asLong();
        System.out.printf(
                Locale.ROOT,
                "%d prompt tokens, of which %d (%.0f %%) stand in the row before too; at most %s output tokens%n",
                prompt,
                shared,
                100.0 * shared / Math.max(1, prompt),
                plan.at("/tokens/output_at_most"));
        System.out.printf("%s shards%n", plan.path("shards"));
        System.out.printf(
                Locale.ROOT,
                "An executor holds %.1f MB of weights; a running row takes %d bytes and %d for each of at most %d tokens%n",
                model.weightBytes() / 1e6,
                model.state().perSequence(),
                model.state().perToken(),
                model.contextLength());
        System.out.printf(
                Locale.ROOT,
                "and %.1f MB for such states; %.1f MB go through the shuffle%n",
                plan.at("/bytes/states_at_most_per_executor").asLong() / 1e6,
                plan.at("/bytes/shuffle").asLong() / 1e6);
        System.out.printf(
                Locale.ROOT,
                "Predicted on %s executors like this machine: %.1f s for prompts, %.1f s for outputs (products alone; at %.0f GFLOP/s and"
                        + " %.1f GB/s)%n",
                plan.at("/predicted/executors"),
                plan.at("/predicted/prefill_seconds").asDouble(),
                plan.at("/predicted/decode_seconds").asDouble(),
                plan.at("/predicted/kernel_flops").asDouble() / 1e9,
                plan.at("/predicted/kernel_bytes_per_second").asDouble() / 1e9);
        plan.path("rejected").properties().forEach(code -> {
            System.out.printf(
                    "%s rows will fail as %s, such as:%n", code.getValue().path("rows"), code.getKey());
            code.getValue().path("examples").forEach(example -> System.out.println("  " + example.asText()));
        });
    }

    private static void summarize(RunConfig config, ObjectNode report) {
        System.err.printf(
                "%s rows (%s ok, %s failed%s), %s prompt tokens (%s of them shared) and %s completion tokens in %.1f s (%.0f + %.0f tok/s)%n",
                report.at("/rows/in"),
                report.at("/rows/ok"),
                report.at("/rows/error"),
                report.at("/rows/kept").asLong() == 0 ? "" : ", " + report.at("/rows/kept") + " were there already",
                report.at("/tokens/prompt"),
                report.at("/tokens/cached"),
                report.at("/tokens/completion"),
                report.at("/seconds/infer_and_write").doubleValue(),
                report.at("/tokens_per_second/prompt").doubleValue(),
                report.at("/tokens_per_second/completion").doubleValue());
        JsonNode steps = report.path("steps");
        if (steps.has("prefill")) {
            System.err.printf(
                    Locale.ROOT,
                    "Prefill: %.0f %% of the operations per second that this machine's products reach, in steps of %.0f tokens%n",
                    100 * steps.at("/prefill/of_product_flops").asDouble(),
                    steps.at("/prefill/tokens").asDouble()
                            / steps.at("/prefill/steps").asDouble());
        }
        if (steps.has("decode")) {
            System.err.printf(
                    Locale.ROOT,
                    "Decoding: %.0f %% of the bytes per second that they read, at %.1f rows a step%n",
                    100 * steps.at("/decode/of_product_bandwidth").asDouble(),
                    steps.at("/decode/rows_per_step").asDouble());
        }
        if (report.at("/rows/error").asLong() > 0) {
            System.err.println("Failed rows by code: " + report.at("/rows/errors"));
        }
        if (report.at("/state_bytes/per_token").asLong() == 0) {
            System.err.printf(
                    "A row's state takes %s bytes, however long it is%n", report.at("/state_bytes/per_sequence"));
        }
        JsonNode load = report.path("expert_load");
        for (int i = 0; i < load.size(); i++) {
            long[] counts = StreamSupport.stream(load.get(i).spliterator(), false)
                    .mapToLong(JsonNode::asLong)
                    .sorted()
                    .toArray();
            double percent = 100.0 / Math.max(1, Arrays.stream(counts).sum());
            System.err.printf(
                    Locale.ROOT,
                    "Expert load, layer %d: %d experts took %.1f to %.1f %% of the choices%n",
                    i + 1,
                    counts.length,
                    counts[0] * percent,
                    counts[counts.length - 1] * percent);
        }
        if (report.has("cost")) {
            System.err.printf(
                    Locale.ROOT,
                    "Cost: %.4f, %.4f per million tokens%n",
                    report.at("/cost/total").doubleValue(),
                    report.at("/cost/per_million_tokens").doubleValue());
        }
        System.err.println("Result: " + config.output() + " (report: " + config.output() + "/_nightmill/report.html)");
    }
}
