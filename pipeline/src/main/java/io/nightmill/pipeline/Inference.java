package io.nightmill.pipeline;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.layers.StateCost;
import io.nightmill.models.ModelLoader;
import io.nightmill.runtime.SamplingJson;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.spark.HashPartitioner;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.storage.StorageLevel;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A run: read and tokenize; plan and shard; infer; write. */
public final class Inference {
    private static final Logger LOG = LoggerFactory.getLogger(Inference.class);

    private Inference() {}

    /**
     * Looks for what would make the whole run fail, before Spark starts anything.
     *
     * @return what a running row will take of the executors' memory
     * @throws IllegalArgumentException saying what was found, what was expected and what to do
     */
    public static StateCost check(RunConfig config) {
        Tables.requireReadable(config);
        Tables.requireWritable(config);
        if (config.sampling() != null) {
            SamplingJson.parse(config.sampling(), null);
        }
        return ModelLoader.check(ModelFiles.sketch(config.model().path()));
    }

    /** Runs a checked job to the end and returns the report, which also lies in the output's {@code _nightmill/report.json}. */
    public static ObjectNode run(SparkSession spark, RunConfig config, StateCost state) {
        long start = System.nanoTime();
        Dataset<Row> input = Tables.read(spark, config.input(), config.inputFormat());
        boolean scores = config.sampling() == null;
        Plan.Kind kind = !scores
                ? Plan.Kind.GENERATE
                : Prompts.hasContinuations(input.schema()) ? Plan.Kind.SCORE_CONTINUATIONS : Plan.Kind.SCORE;
        Dataset<Row> prompts = Prompts.prepare(input, config.promptTemplate(), config.keepColumns(), scores);
        Plan plan = new Plan(
                kind,
                config.model().format(),
                scores ? "{}" : config.sampling(),
                config.topLogprobs(),
                config.onTooLong(),
                config.returnTokenIds(),
                kept(input.schema(), config.keepColumns()),
                Fingerprint.ofRun(
                        kind,
                        ModelFiles.contentHash(config.model().path()),
                        config.model().precision(),
                        config));
        requireNoClash(plan);
        NightmillPlugin.jobIsChecked();

        JavaRDD<ArrowBatch> tokenized =
                prompts.toJavaRDD().mapPartitions(new TokenizeTask(plan)).persist(StorageLevel.DISK_ONLY());
        int maxTokens = Shards.maxTokens(plan);
        StructType schema = Results.schema(plan);
        String mode = Tables.mode(config);
        JavaRDD<ArrowBatch> pending = tokenized;
        if (mode.equals("resume")) {
            Resume resume = new Resume(spark, config, schema, tokenized);
            pending = tokenized.mapPartitionsWithIndex(resume.pending(), true);
            resume.removeStale();
        }
        ShardCost[] costs = pending.mapPartitionsWithIndex(new Shards.Measure(maxTokens), true)
                .collect()
                .toArray(new ShardCost[0]);
        long missing = Arrays.stream(costs).mapToLong(ShardCost::rows).sum();
        long rows = mode.equals("resume") ? rows(tokenized, maxTokens) : missing;
        long cost = Arrays.stream(costs).mapToLong(ShardCost::cost).sum();
        long planned = System.nanoTime();

        int parallelism = spark.sparkContext().defaultParallelism();
        int shards = mode.equals("resume") && missing == 0 ? 0 : Shards.count(cost, missing, config, parallelism);
        LOG.info("{} of {} rows, about {} tokens, in {} shards", missing, rows, cost, shards);
        long[] before = new long[costs.length];
        for (int i = 1; i < before.length; i++) {
            before[i] = before[i - 1] + costs[i - 1].cost();
        }
        RunCounters counters = RunCounters.on(spark.sparkContext());
        JavaRDD<Row> results = pending.mapPartitionsWithIndex(new Shards.Cut(before, cost, shards, maxTokens), true)
                .mapToPair(piece -> piece)
                .partitionBy(new HashPartitioner(shards))
                .mapPartitions(new InferTask(plan, counters));
        Manifest manifest = new Manifest(config, rows, rows - missing, shards);
        try (ProgressLine progress = ProgressLine.start(missing, counters)) {
            new Increments(spark, config, schema, manifest, counters).write(results, shards, mode);
        }
        tokenized.unpersist(false);
        long end = System.nanoTime();

        long written = counters.rows().value();
        if (written < missing) {
            throw new IllegalStateException("Cannot account for every row: %d went in, %d came out of %s"
                    .formatted(missing, written, config.output()));
        }
        ObjectNode report = report(config, rows, rows - missing, shards, counters, planned - start, end - planned);
        report.putObject("state_bytes").put("per_token", state.perToken()).put("per_sequence", state.perSequence());
        report.put("spark_version", spark.version());
        if (!config.outputFormat().equals("table")) {
            Tables.writeReport(config.output(), report.toPrettyString());
        }
        return report;
    }

    private static long rows(JavaRDD<ArrowBatch> batches, int maxTokens) {
        return batches.mapPartitionsWithIndex(new Shards.Measure(maxTokens), true).collect().stream()
                .mapToLong(ShardCost::rows)
                .sum();
    }

    private static StructType kept(StructType schema, List<String> columns) {
        StructType kept = new StructType();
        for (String column : columns) {
            kept = kept.add(schema.apply(column));
        }
        return kept;
    }

    private static void requireNoClash(Plan plan) {
        List<String> names = List.of(Results.schema(plan).fieldNames());
        for (String kept : plan.kept().fieldNames()) {
            if (names.indexOf(kept) != names.lastIndexOf(kept)) {
                throw new IllegalArgumentException(
                        "Cannot keep column '%s': the results have a column of that name".formatted(kept));
            }
        }
    }

    private static ObjectNode report(
            RunConfig config, long rows, long kept, int shards, RunCounters counters, long planNanos, long inferNanos) {
        ObjectNode report = new ObjectMapper().createObjectNode();
        report.put("date", Instant.now().toString());
        report.put("model", config.model().path());
        report.put("dtype", config.model().precision().name().toLowerCase(Locale.ROOT));
        ObjectNode backends = report.putObject("backends");
        NightmillPlugin.latest().forEach((executor, progress) -> backends.put(executor, progress.backend()));
        report.put("input", config.input()).put("output", config.output());
        if (config.sampling() != null) {
            report.put("sampling", config.sampling());
        }
        ObjectNode counts = report.putObject("rows");
        long failed = 0;
        ObjectNode errors = counts.putObject("errors");
        for (var error : counters.errors().entrySet()) {
            errors.put(error.getKey(), error.getValue());
            failed += error.getValue();
        }
        counts.put("in", rows).put("ok", rows - failed).put("error", failed).put("kept", kept);
        report.put("shards", shards);
        double seconds = inferNanos / 1e9;
        long prompt = counters.promptTokens().value();
        long completion = counters.completionTokens().value();
        report.putObject("tokens").put("prompt", prompt).put("completion", completion);
        report.putObject("seconds").put("tokenize_and_plan", planNanos / 1e9).put("infer_and_write", seconds);
        report.putObject("tokens_per_second").put("prompt", prompt / seconds).put("completion", completion / seconds);
        long[][] load = counters.expertLoad().value();
        if (load.length > 0) {
            ArrayNode layers = report.putArray("expert_load");
            for (long[] layer : load) {
                ArrayNode experts = layers.addArray();
                Arrays.stream(layer).forEach(experts::add);
            }
        }
        return report;
    }
}
