package io.nightmill.pipeline;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.engine.DraftModel;
import io.nightmill.engine.Limits;
import io.nightmill.models.ModelLoader;
import io.nightmill.models.ModelSize;
import io.nightmill.runtime.KernelSpeed;
import io.nightmill.runtime.ModelSpec;
import io.nightmill.runtime.SamplingJson;
import java.util.List;
import java.util.Objects;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.network.util.JavaUtils;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A run: read and tokenize; plan and shard; infer; write. */
public final class Inference {
    private static final Logger LOG = LoggerFactory.getLogger(Inference.class);

    private Inference() {}

    /**
     * Looks for what would make the whole run fail, before Spark starts anything.
     *
     * @return what the model will take of the executors' memory
     * @throws IllegalArgumentException saying what was found, what was expected and what to do
     */
    public static ModelSize check(RunConfig config) {
        Tables.requireReadable(config);
        Tables.requireWritable(config);
        if (config.sampling() != null) {
            SamplingJson.parse(config.sampling(), null);
        }
        ModelSize model = size(config, config.model().path());
        Limits limits = config.model().limits();
        if (limits.speculation().tokens() > 0 && model.state().perSequence() > 0) {
            LOG.warn(
                    "speculative-config is not used: the states of recurrent layers cannot go back behind a wrong guess");
        }
        if (limits.speculation() instanceof DraftModel draft) {
            requireDraft(draft, size(config, draft.path()), model);
        }
        return model;
    }

    private static ModelSize size(RunConfig config, String path) {
        return ModelLoader.check(
                ModelFiles.sketch(path), config.model().limits().kvType());
    }

    private static void requireDraft(DraftModel draft, ModelSize size, ModelSize model) {
        if (size.vocabulary() != model.vocabulary()) {
            throw new IllegalArgumentException(
                    "Cannot guess by the draft model %s: it has %d tokens, expected the model's %d"
                            .formatted(draft.path(), size.vocabulary(), model.vocabulary()));
        }
        if (size.state().perSequence() > 0) {
            throw new IllegalArgumentException(
                    "Cannot guess by the draft model %s: it has recurrent layers, whose states cannot go back behind a wrong guess, expected attention alone"
                            .formatted(draft.path()));
        }
    }

    /** What all models of a run take as stored. */
    private static long weightBytes(RunConfig config, ModelSize model) {
        return model.weightBytes()
                + (config.model().limits().speculation() instanceof DraftModel draft
                        ? size(config, draft.path()).weightBytes()
                        : 0);
    }

    /**
     * All that is known before any compute.
     *
     * @param rows of the input
     * @param pending those of them that are to be computed
     */
    private record Prepared(
            Plan plan,
            StructType schema,
            String mode,
            long rows,
            Kept<ArrowBatch> tokenized,
            JavaRDD<ArrowBatch> pending,
            Shards planner,
            int shards) {
        void close() {
            planner.close();
            tokenized.close();
        }
    }

    /** @param writes whether rows that are not of the plan may be taken out of the output */
    private static Prepared prepare(SparkSession spark, RunConfig config, Dataset<Row> input, boolean writes) {
        boolean scores = config.sampling() == null;
        Plan.Kind kind = !scores
                ? config.input() == null ? Plan.Kind.MIXED : Plan.Kind.GENERATE
                : Prompts.hasContinuations(input.schema()) ? Plan.Kind.SCORE_CONTINUATIONS : Plan.Kind.SCORE;
        Dataset<Row> prompts = Prompts.prepare(input, config.promptTemplate(), config.keepColumns(), kind);
        Plan plan = new Plan(
                kind,
                config.model().format(),
                scores ? "{}" : Fingerprint.sorted(config.sampling()),
                config.topLogprobs(),
                config.onTooLong(),
                config.returnTokenIds(),
                config.prefixCaching(),
                config.logPrompts(),
                config.chat(),
                kept(input.schema(), config.keepColumns()),
                Fingerprint.ofRun(kind, ModelFiles.contentHash(config.model().path()), config));
        requireNoClash(plan);
        if (writes) {
            NightmillPlugin.jobIsChecked();
        }

        Kept<ArrowBatch> kept = new Kept<>(prompts.toJavaRDD().mapPartitions(new TokenizeTask(plan)), ArrowBatch.class);
        JavaRDD<ArrowBatch> tokenized = kept.rdd();
        StructType schema = Results.schema(plan);
        String mode = Tables.mode(config);
        long rows = -1;
        JavaRDD<ArrowBatch> pending = tokenized;
        if (mode.equals("resume")) {
            if (writes && config.isFiles()) {
                // A plan touches nothing: another run may be writing.
                new FileSwap(config.output()).finish();
            }
            Resume resume = new Resume(spark, config, schema, tokenized);
            rows = resume.planned();
            pending = tokenized.mapPartitionsWithIndex(resume.pending(), true);
            if (writes) {
                resume.removeStale();
            }
        }
        Shards planner = new Shards(spark, plan, pending);
        long missing = planner.total().rows();
        int parallelism = spark.sparkContext().defaultParallelism();
        int shards = mode.equals("resume") && missing == 0 ? 0 : planner.count(config, parallelism);
        return new Prepared(plan, schema, mode, rows < 0 ? missing : rows, kept, pending, planner, shards);
    }

    /** What {@link #run} would do, and nothing done: as much as EXPLAIN says of a query. */
    public static ObjectNode explain(SparkSession spark, RunConfig config, ModelSize model) {
        Prepared prepared = prepare(spark, config, input(spark, config), false);
        ObjectNode plan = new ObjectMapper().createObjectNode();
        plan.put("mode", prepared.mode);
        ShardCost total = prepared.planner.total();
        plan.putObject("rows")
                .put("in", prepared.rows)
                .put("kept", prepared.rows - total.rows())
                .put("to_compute", total.rows())
                .put("duplicates", total.duplicates());
        plan.putObject("tokens")
                .put("prompt", total.promptTokens())
                .put("shared_prompt", total.sharedTokens())
                .put("output_at_most", total.outputTokens());
        plan.put("shards", prepared.shards);
        plan.putObject("model")
                .put("parameters", model.parameters())
                .put("weight_bytes", model.weightBytes())
                .put("active_parameters", model.activeParameters())
                .put("context_length", model.contextLength())
                .put("state_bytes_per_token", model.state().perToken())
                .put("state_bytes_per_row", model.state().perSequence());
        predict(total, model, config, executors(spark)).addTo(plan.putObject("predicted"));
        plan.putObject("bytes")
                .put("shuffle", 4 * total.promptTokens())
                .put("weights_per_executor", weightBytes(config, model))
                .put("states_at_most_per_executor", stateBytes(spark, config));
        ObjectNode rejected = plan.putObject("rejected");
        prepared.pending
                .mapPartitions(new Rejections(model.contextLength()))
                .collect()
                .forEach(found -> found.addTo(rejected));
        prepared.close();
        return plan;
    }

    /** Runs a checked job to the end and returns the report, which also lies in the output's {@code _nightmill/report.json}. */
    public static ObjectNode run(SparkSession spark, RunConfig config, ModelSize model) {
        return run(spark, config, model, input(spark, config));
    }

    private static Dataset<Row> input(SparkSession spark, RunConfig config) {
        return Tables.prompts(
                spark, Objects.requireNonNull(config.input()), config.inputFormat(), config.keepColumns());
    }

    /** @param input rows as in a table of prompts */
    public static ObjectNode run(SparkSession spark, RunConfig config, ModelSize model, Dataset<Row> input) {
        long start = System.nanoTime();
        Prepared prepared = prepare(spark, config, input, true);
        long planned = System.nanoTime();
        Plan plan = prepared.plan;
        long rows = prepared.rows;
        int shards = prepared.shards;
        ShardCost total = prepared.planner.total();
        long missing = total.rows();
        LOG.info("{} of {} rows, about {} tokens, in {} shards", missing, rows, total.cost(), shards);
        RunCounters counters = RunCounters.on(spark.sparkContext());
        JavaRDD<Row> results = prepared.planner
                .cut(prepared.pending, shards)
                .values()
                .mapPartitionsWithIndex(new InferTask(plan, counters), true);
        Manifest manifest = new Manifest(config, rows, rows - missing, shards);
        int executors = executors(spark);
        Console console = new Console();
        RunMonitor monitor = RunMonitor.start(missing, counters, console::draw);
        try (monitor) {
            NightmillTab.show(spark.sparkContext(), monitor);
            new Increments(spark, config, prepared.schema, manifest, counters).write(results, shards, prepared.mode);
        }
        prepared.close();
        long end = System.nanoTime();
        console.draw(monitor.now());

        long written = counters.rows().value();
        if (written < missing) {
            throw new IllegalStateException("Cannot account for every row: %d went in, %d came out of %s"
                    .formatted(missing, written, config.output()));
        }
        // Measured behind the run: in local mode this JVM has compiled its kernels by then.
        Prediction prediction = predict(total, model, config, executors);
        RunReport report = new RunReport(config, rows, rows - missing, shards, counters, monitor)
                .took(counters, (planned - start) / 1e9, (end - planned) / 1e9)
                .planned(total, model, prediction)
                .worked(counters, model, prediction.speed())
                .priced(config.pricePerHour(), executors);
        report.json().put("spark_version", spark.version());
        if (config.hasFolder()) {
            Tables.writeReport(config.output(), "report.json", report.json().toPrettyString());
            Tables.writeReport(config.output(), "report.html", report.html());
        }
        return report.json();
    }

    /** What an executor keeps for states, by its own heap where nothing is said. */
    private static long stateBytes(SparkSession spark, RunConfig config) {
        boolean isLocal = spark.sparkContext().isLocal();
        long heap = isLocal
                ? Runtime.getRuntime().maxMemory()
                : JavaUtils.byteStringAsBytes(spark.sparkContext().conf().get("spark.executor.memory", "1g"));
        return config.model().limits().kvBytes(heap);
    }

    private static Prediction predict(ShardCost total, ModelSize model, RunConfig config, int executors) {
        ModelSpec spec = config.model();
        KernelSpeed speed = KernelSpeed.of(spec.device(), spec.precision(), spec.threads());
        return Prediction.of(total, model, config, executors, speed);
    }

    /** That compute at a time: in local mode the driver itself. */
    private static int executors(SparkSession spark) {
        int others = spark.sparkContext().getExecutorMemoryStatus().size() - 1;
        return Math.max(1, others);
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
}
