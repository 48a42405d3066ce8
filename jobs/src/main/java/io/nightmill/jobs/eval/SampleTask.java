package io.nightmill.jobs.eval;

import static org.apache.spark.sql.types.DataTypes.LongType;
import static org.apache.spark.sql.types.DataTypes.StringType;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.FilterConfig;
import io.nightmill.jobs.eval.EvalTask.OutputType;
import io.nightmill.pipeline.ModelFiles;
import io.nightmill.text.Tokenizer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;
import scala.collection.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Documents with the model's answers to the harness's samples, one for each filter of the task; a document without answers to one that
 * says why. Runs on executors.
 *
 * @param model path of the model, whose tokenizer wrote the answers
 */
record SampleTask(List<TaskRun> runs, EvalOptions options, String model) implements FlatMapFunction<Row, Row> {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Documents, arguments, answers and metrics are JSON. */
    static final StructType SAMPLE = new StructType()
            .add("task", StringType, false)
            .add("doc_id", LongType, false)
            .add("filter", StringType, false)
            .add("doc", StringType)
            .add("target", StringType)
            .add("arguments", StringType)
            .add("resps", StringType)
            .add("filtered_resps", StringType)
            .add("metrics", StringType)
            .add("doc_hash", StringType)
            .add("prompt_hash", StringType)
            .add("target_hash", StringType)
            .add("status", StringType, false)
            .add("error", StringType);

    /** @param row of {@link InstanceTask#INSTANCE}, with the answers as a list of structs sorted by request */
    @Override
    public Iterator<Row> call(Row row) {
        TaskRun run = runs.get(row.<Integer>getAs("task"));
        return run.task().filters().stream()
                .map(filter -> {
                    try {
                        return sample(run, row, filter);
                    } catch (IllegalArgumentException e) {
                        return failed(run, row, filter, String.valueOf(e.getMessage()));
                    }
                })
                .iterator();
    }

    private static Row failed(TaskRun run, Row row, FilterConfig filter, String reason) {
        Object[] values = new Object[SAMPLE.size()];
        values[SAMPLE.fieldIndex("task")] = run.task().name();
        values[SAMPLE.fieldIndex("doc_id")] = row.getAs("doc_id");
        values[SAMPLE.fieldIndex("filter")] = filter.name();
        values[SAMPLE.fieldIndex("doc")] = row.getAs("doc");
        values[SAMPLE.fieldIndex("status")] = "error";
        values[SAMPLE.fieldIndex("error")] = reason;
        return RowFactory.create(values);
    }

    private Row sample(TaskRun run, Row row, FilterConfig filter) {
        String problem = row.getAs("problem");
        if (problem != null) {
            throw new IllegalArgumentException(problem);
        }
        EvalTask task = run.task();
        ObjectNode doc = EvalDocuments.object(row.getAs("doc"));
        List<Row> arguments = CollectionConverters.asJava(row.<Seq<Row>>getAs("arguments"));
        List<JsonNode> answers = answers(task, row);
        AnswerFilter steps = AnswerFilter.of(filter);
        List<JsonNode> filtered =
                answers.stream().map(answer -> steps.apply(answer, doc)).toList();
        JsonNode question = json(row.getAs("text"));
        JsonNode target = json(row.getAs("target"));
        String choiceText = row.getAs("choices");
        JsonNode choices = choiceText == null ? null : json(choiceText);
        Metric.Doc judged = new Metric.Doc(
                doc, question, target, choices, choices != null && question.isIntegralNumber(), run.multipleTargets());
        CodeSandbox sandbox = options.sandbox() == null ? null : new CodeSandbox(options.sandbox());
        Map<String, JsonNode> metrics = Metric.of(task, judged, filtered, sandbox);

        ObjectNode given = JSON.createObjectNode();
        for (int i = 0; i < arguments.size(); i++) {
            ObjectNode one = given.putObject("gen_args_" + i);
            one.put("arg_0", arguments.get(i).getString(0));
            if (task.outputType() == OutputType.GENERATE_UNTIL) {
                one.set("arg_1", task.generation());
            } else if (!arguments.get(i).isNullAt(1)) {
                one.put("arg_1", arguments.get(i).getString(1));
            }
        }
        ObjectNode values = JSON.createObjectNode();
        metrics.forEach(values::set);
        return RowFactory.create(
                task.name(),
                row.getAs("doc_id"),
                filter.name(),
                doc.toString(),
                Python.str(target),
                given.toString(),
                texts(JSON.createArrayNode().addAll(answers)).toString(),
                texts(JSON.createArrayNode().addAll(filtered)).toString(),
                values.toString(),
                Python.hash(Python.dumps(doc, 2)),
                Python.hash(arguments.get(0).getString(0)),
                Python.hash(Python.str(target)),
                "ok",
                null);
    }

    /** A row as a line of the harness's file of samples. */
    static ObjectNode line(Row row) {
        ObjectNode line = JSON.createObjectNode();
        line.put("doc_id", row.<Long>getAs("doc_id"));
        line.set("doc", json(row.getAs("doc")));
        line.put("target", row.<String>getAs("target"));
        for (String field : List.of("arguments", "resps", "filtered_resps")) {
            line.set(field, json(row.getAs(field)));
        }
        line.put("filter", row.<String>getAs("filter"));
        JsonNode metrics = json(row.getAs("metrics"));
        ArrayNode names = line.putArray("metrics");
        metrics.fieldNames().forEachRemaining(names::add);
        for (String field : List.of("doc_hash", "prompt_hash", "target_hash")) {
            line.put(field, row.<String>getAs(field));
        }
        metrics.properties().forEach(metric -> line.set(metric.getKey(), metric.getValue()));
        return line;
    }

    /** What the model answered to each argument: a list of texts, of one {@code [logprob, is_greedy]}, or of one log-probability. */
    private List<JsonNode> answers(EvalTask task, Row row) {
        Map<Integer, Row> byRequest = new HashMap<>();
        CollectionConverters.asJava(row.<Seq<Row>>getAs("answers"))
                .forEach(answer -> byRequest.put(answer.<Integer>getAs("request"), answer));
        List<JsonNode> answers = new ArrayList<>();
        for (Seq<Row> pieces : CollectionConverters.asJava(row.<Seq<Seq<Row>>>getAs("pieces"))) {
            ArrayNode list = JSON.createArrayNode();
            double logprob = 0;
            boolean greedy = true;
            for (Row piece : CollectionConverters.asJava(pieces)) {
                Row answer = answered(byRequest.get(piece.getInt(0)));
                if (task.outputType() == OutputType.GENERATE_UNTIL) {
                    texts(answer, task).forEach(list::add);
                    continue;
                }
                Row score = CollectionConverters.asJava(answer.<Seq<Row>>getAs("scores"))
                        .get(piece.getInt(1));
                logprob += score.<Double>getAs("logprob");
                greedy &= score.<Boolean>getAs("is_greedy");
            }
            if (task.outputType() == OutputType.LOGLIKELIHOOD_ROLLING) {
                list.add(logprob);
            } else if (task.outputType() != OutputType.GENERATE_UNTIL) {
                list.addArray().add(logprob).add(greedy);
            }
            answers.add(list);
        }
        return answers;
    }

    private static Row answered(@Nullable Row answer) {
        if (answer == null) {
            throw new IllegalArgumentException("the model was not asked");
        }
        Row error = answer.getAs("error");
        if (error != null) {
            throw new IllegalArgumentException(error.<String>getAs("code") + ": " + error.<String>getAs("message"));
        }
        return answer;
    }

    private List<String> texts(Row answer, EvalTask task) {
        List<String> texts = new ArrayList<>();
        CollectionConverters.asJava(answer.<Seq<Row>>getAs("outputs")).forEach(output -> texts.add(text(output)));
        return texts.size() == 1 ? Collections.nCopies(task.repeats(), texts.get(0)) : texts;
    }

    /** The harness decodes the answer by itself: then the space that SentencePiece puts before a first word is none. */
    private String text(Row output) {
        String text = output.getAs("text");
        if (!text.startsWith(" ")) {
            return text;
        }
        int[] ids = CollectionConverters.asJava(output.<Seq<Integer>>getAs("token_ids")).stream()
                .mapToInt(Integer::intValue)
                .toArray();
        return tokenizer().decode(ids, true).startsWith(" ") ? text : text.substring(1);
    }

    private Tokenizer tokenizer() {
        return Objects.requireNonNull(ModelFiles.text(model).tokenizer());
    }

    /** As the harness's files have it: every leaf is a text. */
    private static JsonNode texts(JsonNode value) {
        if (!value.isArray()) {
            return JSON.getNodeFactory().textNode(Python.str(value));
        }
        ArrayNode texts = JSON.createArrayNode();
        value.forEach(item -> texts.add(texts(item)));
        return texts;
    }

    private static JsonNode json(String text) {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }
}
