package io.nightmill.jobs.eval;

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.collect_list;
import static org.apache.spark.sql.functions.concat_ws;
import static org.apache.spark.sql.functions.expr;
import static org.apache.spark.sql.functions.posexplode;
import static org.apache.spark.sql.functions.struct;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.ModelSize;
import io.nightmill.pipeline.Inference;
import io.nightmill.pipeline.RunConfig;
import io.nightmill.pipeline.Tables;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.jspecify.annotations.Nullable;

/**
 * Tasks of lm-evaluation-harness as one job: documents become prompts, the requests of all tasks one table that the engine answers (and
 * resumes), answers samples, samples figures.
 */
final class Evaluation {
    /** Documents that a task is tried on, before all are asked. */
    private static final int TRIED = 5;

    private final SparkSession spark;
    private final EvalOptions options;
    private final EvalDocuments documents;
    private final DocFields fields = new DocFields();

    private Evaluation(SparkSession spark, EvalOptions options, String dataDir) {
        this.spark = spark;
        this.options = options;
        this.documents = new EvalDocuments(spark, dataDir);
    }

    /**
     * What came of a model.
     *
     * @param report of the engine's run
     */
    record Outcome(List<TaskRun> runs, Map<String, Figures> figures, ObjectNode report) {}

    /**
     * Asks a model.
     *
     * @param config whose output takes the model's answers
     * @param folder for samples
     * @param stamp the run's time as the harness writes it into names of files
     */
    static Outcome run(
            SparkSession spark,
            List<EvalTask> tasks,
            EvalOptions options,
            String dataDir,
            RunConfig config,
            ModelSize model,
            String folder,
            String stamp) {
        return new Evaluation(spark, options, dataDir).run(tasks, config, model, folder, stamp);
    }

    /**
     * Looks for what would fail for every document.
     *
     * @throws IllegalArgumentException naming the task and what is wrong with it
     */
    static void check(EvalTask task, int contextLength) {
        try {
            Metric.require(task);
            Figures.require(task);
            Generation.require(task);
            task.filters().forEach(AnswerFilter::of);
            if (task.processDocs() != null) {
                TaskFunctions.documents(task.processDocs());
            }
            if (task.processResults() != null) {
                TaskFunctions.results(task.processResults());
            }
            for (JsonNode field : Arrays.asList(
                    task.fields().text(), task.fields().target(), task.fields().choice())) {
                if (field != null && field.has(TaskYaml.FUNCTION)) {
                    TaskFunctions.field(field.get(TaskYaml.FUNCTION).asText());
                }
            }
            if (task.outputType() == EvalTask.OutputType.GENERATE_UNTIL
                    && Generation.maxTokens(task) >= contextLength) {
                throw new IllegalArgumentException(
                        "it may generate %d tokens, and the model's context has %d: give --gen-kwargs max_gen_toks=N"
                                .formatted(Generation.maxTokens(task), contextLength));
            }
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("Cannot use the task %s: %s".formatted(task.name(), e.getMessage()), e);
        }
    }

    private Outcome run(List<EvalTask> tasks, RunConfig config, ModelSize model, String folder, String stamp) {
        JavaSparkContext context = new JavaSparkContext(spark.sparkContext());
        List<TaskRun> runs = new ArrayList<>();
        List<JavaRDD<Row>> all = new ArrayList<>();
        for (EvalTask task : tasks) {
            JavaRDD<String> docs = processed(documents.read(task, task.dataset().evaluated()), task.processDocs());
            TaskRun run = plan(task, docs);
            int number = runs.size();
            long effective = run.effective();
            all.add(docs.zipWithIndex()
                    .filter(doc -> doc._2() < effective)
                    .map(doc -> RowFactory.create(number, doc._2(), doc._1())));
            runs.add(run);
        }
        JavaRDD<Row> first = all.get(0);
        JavaRDD<Row> docs = all.size() == 1 ? first : context.union(all.toArray(JavaRDD[]::new));

        spark.createDataFrame(docs.repartition(spark.sparkContext().defaultParallelism()), InstanceTask.DOCUMENT)
                .mapPartitions(
                        new InstanceTask(runs, options, config.model().path()), Encoders.row(InstanceTask.INSTANCE))
                .write()
                .mode("overwrite")
                .parquet(folder + "/instances");
        Dataset<Row> instances = spark.read().schema(InstanceTask.INSTANCE).parquet(folder + "/instances");
        Dataset<Row> requests = requests(instances, tasks);
        ObjectNode report = Inference.run(spark, config, model, requests.select("id", "request.*"));
        samples(instances, requests, config, runs).write().mode("overwrite").parquet(folder + "/samples");
        Map<String, Figures> figures = figures(runs, folder, stamp);
        return new Outcome(runs, figures, report);
    }

    private static JavaRDD<String> processed(JavaRDD<String> docs, @Nullable String function) {
        return function == null
                ? docs
                : docs.flatMap(doc -> TaskFunctions.documents(function).apply(EvalDocuments.object(doc)).stream()
                        .map(ObjectNode::toString)
                        .iterator());
    }

    /** Counts documents and draws their examples. */
    private TaskRun plan(EvalTask task, JavaRDD<String> docs) {
        long count = docs.count();
        if (count == 0) {
            throw new IllegalArgumentException("Cannot evaluate %s: its split '%s' is empty"
                    .formatted(task.name(), task.dataset().evaluated()));
        }
        EvalTask.FewShot shots = task.fewShot();
        long effective = options.effective(count);
        Map<Integer, String> examples = new HashMap<>();
        List<int[]> picks = new ArrayList<>(List.of(new int[0]));
        if (shots.count() > 0) {
            Pool pool = pool(task);
            // As the harness has it: also where there is neither a split of examples nor one of tests.
            boolean among = Objects.equals(shots.split(), task.dataset().test());
            List<String> asked = among ? hashes(docs, (int) effective) : List.of();
            List<String> pooled = among ? hashes(pool.docs, pool.size) : List.of();
            try {
                picks = picks(shots, pool.size, effective, options.fewshotSeed(), asked, pooled);
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(
                        "Cannot take %d examples for %s: %s".formatted(shots.count(), task.name(), e.getMessage()), e);
            }
            examples.putAll(pool.take(picks.stream()
                    .flatMapToInt(Arrays::stream)
                    .boxed()
                    .collect(Collectors.toCollection(TreeSet::new))));
        }
        return new TaskRun(task, count, effective, examples, picks, hasManyTargets(task, docs.take(TRIED)));
    }

    /**
     * As the harness finds out by a task's first document; here, the first that can be read.
     *
     * @throws IllegalArgumentException if none can: then the task's file is wrong
     */
    private boolean hasManyTargets(EvalTask task, List<String> docs) {
        IllegalArgumentException reason = null;
        for (String doc : docs) {
            try {
                return fields.target(task.fields(), EvalDocuments.object(doc)).isArray();
            } catch (IllegalArgumentException e) {
                reason = reason == null ? e : reason;
            }
        }
        throw new IllegalArgumentException(
                "Cannot use the task %s on its first %d documents: %s"
                        .formatted(task.name(), docs.size(), reason == null ? "" : reason.getMessage()),
                reason);
    }

    private static List<String> hashes(JavaRDD<String> docs, int count) {
        return docs.map(Python::hash).take(count);
    }

    /**
     * Draws examples as the harness does: one generator for a task's documents, one after the other. Where a document may be among the
     * examples one more is drawn, it and its copies are left out, and if too few are left they are drawn anew from the others.
     *
     * @param pool documents that examples are drawn from
     * @param asked content of each document that is asked, or empty where none is among the examples
     * @param pooled content of each document that examples are drawn from, or empty likewise
     * @return places of each document's examples, in order; one list for all where it is the same
     */
    static List<int[]> picks(
            EvalTask.FewShot shots, int pool, long documents, long seed, List<String> asked, List<String> pooled) {
        int[] places = shots.indices().isEmpty()
                ? IntStream.range(0, pool).toArray()
                : shots.indices().stream().mapToInt(Integer::intValue).toArray();
        int count = shots.count();
        List<int[]> picks = new ArrayList<>();
        PythonRandom random = new PythonRandom(seed);
        for (int i = 0; i < (shots.firstN() && asked.isEmpty() ? 1 : documents); i++) {
            String own = asked.isEmpty() ? "" : asked.get(i);
            IntPredicate other = place -> own.isEmpty() || !pooled.get(place).equals(own);
            int[] drawn = shots.firstN()
                    ? places
                    : picked(places, random.sample(places.length, own.isEmpty() ? count : count + 1));
            int[] kept = Arrays.stream(drawn).filter(other).limit(count).toArray();
            if (kept.length < count) {
                int[] others = Arrays.stream(places).filter(other).toArray();
                kept = picked(others, random.sample(others.length, count));
            }
            picks.add(kept);
        }
        return picks;
    }

    private static int[] picked(int[] places, int[] drawn) {
        return Arrays.stream(drawn).map(at -> places[at]).toArray();
    }

    /** Documents that examples are drawn from. */
    private record Pool(JavaRDD<String> docs, int size) {
        Map<Integer, String> take(Set<Integer> places) {
            Set<Integer> wanted = new TreeSet<>(places);
            Map<Integer, String> taken = new HashMap<>();
            docs.zipWithIndex()
                    .filter(doc -> wanted.contains(doc._2().intValue()))
                    .collect()
                    .forEach(doc -> taken.put(doc._2().intValue(), doc._1()));
            return taken;
        }
    }

    private Pool pool(EvalTask task) {
        EvalTask.FewShot shots = task.fewShot();
        JavaRDD<String> docs;
        if (shots.split() != null) {
            docs = processed(documents.read(task, shots.split()), shots.processDocs());
        } else if (shots.samples() != null) {
            List<String> given = new ArrayList<>();
            shots.samples().forEach(sample -> given.add(sample.toString()));
            docs = new JavaSparkContext(spark.sparkContext()).parallelize(given, 1);
        } else {
            EvalTask.Dataset dataset = task.dataset();
            String split = dataset.training() != null
                    ? dataset.training()
                    : dataset.validation() != null ? dataset.validation() : dataset.evaluated();
            docs = processed(documents.read(task, split), task.processDocs());
        }
        return new Pool(docs, Math.toIntExact(docs.count()));
    }

    /** One row per request of any task: {@code task, doc_id, number, request, id}. */
    private static Dataset<Row> requests(Dataset<Row> instances, List<EvalTask> tasks) {
        Column name = functionOf(tasks.stream().map(EvalTask::name).toList(), col("task"));
        return instances
                .select(col("task"), col("doc_id"), posexplode(col("requests")).as(new String[] {"number", "request"}))
                .withColumn("id", concat_ws("/", name, col("doc_id"), col("number")));
    }

    private static Column functionOf(List<String> names, Column number) {
        Column[] values = names.stream().map(functions::lit).toArray(Column[]::new);
        return functions.array(values).getItem(number);
    }

    private Dataset<Row> samples(Dataset<Row> instances, Dataset<Row> requests, RunConfig config, List<TaskRun> runs) {
        Dataset<Row> responses = Tables.read(spark, config.output(), config.outputFormat())
                .select(
                        col("id"),
                        expr("transform(outputs, o -> named_struct('text', o.text, 'token_ids', o.token_ids))")
                                .as("outputs"),
                        col("scores"),
                        col("error"));
        Dataset<Row> answers = requests.select("task", "doc_id", "number", "id")
                .join(responses, "id")
                .groupBy("task", "doc_id")
                .agg(collect_list(struct(col("number").as("request"), col("outputs"), col("scores"), col("error")))
                        .as("answers"));
        JavaRDD<Row> joined = instances
                .drop("requests")
                .join(answers, new String[] {"task", "doc_id"}, "left_outer")
                .withColumn("answers", expr("coalesce(answers, array())"))
                .toJavaRDD();
        return spark.createDataFrame(
                        joined.flatMap(
                                new SampleTask(runs, options, config.model().path())),
                        SampleTask.SAMPLE)
                .coalesce(spark.sparkContext().defaultParallelism());
    }

    /** Walks through all samples in order, writing the harness's files of them. */
    private Map<String, Figures> figures(List<TaskRun> runs, String folder, String stamp) {
        Map<String, Figures> all = new LinkedHashMap<>();
        List<String> order = new ArrayList<>();
        for (TaskRun run : runs) {
            all.put(run.task().name(), new Figures(run.task()));
            run.task().filters().forEach(filter -> order.add(run.task().name() + "/" + filter.name()));
        }
        Column[] places = order.stream().map(functions::lit).toArray(Column[]::new);
        Iterator<Row> rows = spark.read()
                .schema(SampleTask.SAMPLE)
                .parquet(folder + "/samples")
                .orderBy(
                        functions.array_position(functions.array(places), concat_ws("/", col("task"), col("filter"))),
                        col("doc_id"))
                .toLocalIterator();
        OutputStream file = null;
        String open = "";
        try {
            while (rows.hasNext()) {
                Row row = rows.next();
                String task = row.getAs("task");
                Figures figures = all.get(task);
                if (row.<String>getAs("error") != null) {
                    figures.addFailure(row.getAs("doc_id"), row.getAs("error"));
                    continue;
                }
                ObjectNode sample = SampleTask.line(row);
                figures.addHashes(sample);
                Map<String, JsonNode> metrics = new LinkedHashMap<>();
                sample.path("metrics").forEach(name -> metrics.put(name.asText(), sample.get(name.asText())));
                figures.add(row.getAs("filter"), row.getAs("doc_id"), metrics);
                if (options.logSamples()) {
                    if (!open.equals(task)) {
                        close(file);
                        file = create(folder + "/samples_%s_%s.jsonl".formatted(task, stamp));
                        open = task;
                    }
                    file.write((Python.dumps(sample, 0) + "\n").getBytes(StandardCharsets.UTF_8));
                }
            }
            close(file);
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot write samples to " + folder, e);
        }
        return all;
    }

    private static void close(@Nullable OutputStream file) throws IOException {
        if (file != null) {
            file.close();
        }
    }

    private OutputStream create(String name) throws IOException {
        Path path = new Path(name);
        return path.getFileSystem(spark.sessionState().newHadoopConf()).create(path, true);
    }
}
