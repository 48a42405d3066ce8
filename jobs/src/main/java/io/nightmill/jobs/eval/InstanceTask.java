package io.nightmill.jobs.eval;

import static org.apache.spark.sql.types.DataTypes.DoubleType;
import static org.apache.spark.sql.types.DataTypes.IntegerType;
import static org.apache.spark.sql.types.DataTypes.LongType;
import static org.apache.spark.sql.types.DataTypes.StringType;
import static org.apache.spark.sql.types.DataTypes.createArrayType;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.PromptBuilder.Argument;
import io.nightmill.models.ModelText;
import io.nightmill.pipeline.ModelFiles;
import io.nightmill.text.ChatTemplate;
import io.nightmill.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * Documents to what is asked of the model: the harness's arguments, and the token ids that its Hugging Face backend makes of them.
 * A document that cannot be asked says why. Runs on executors.
 *
 * @param model path of the model, whose tokenizer reads the prompts
 */
record InstanceTask(List<TaskRun> runs, EvalOptions options, String model) implements MapPartitionsFunction<Row, Row> {

    static final StructType DOCUMENT = new StructType()
            .add("task", IntegerType, false)
            .add("doc_id", LongType, false)
            .add("doc", StringType, false);
    private static final StructType ARGUMENT =
            new StructType().add("arg_0", StringType, false).add("arg_1", StringType);
    /** The columns of a request are those that a table of prompts may have. */
    static final StructType REQUEST = new StructType()
            .add("prompt_token_ids", createArrayType(IntegerType, false), false)
            .add("choices", createArrayType(createArrayType(IntegerType, false), false))
            .add("stop", createArrayType(StringType, false))
            .add("max_tokens", IntegerType)
            .add("n", IntegerType)
            .add("temperature", DoubleType)
            .add("top_p", DoubleType)
            .add("top_k", IntegerType)
            .add("min_p", DoubleType)
            .add("repetition_penalty", DoubleType)
            .add("seed", LongType);
    /** Which score of which request belongs to an argument; a text in several windows has several. */
    private static final StructType PIECE =
            new StructType().add("request", IntegerType, false).add("choice", IntegerType, false);

    static final StructType INSTANCE = DOCUMENT.add("text", StringType)
            .add("target", StringType)
            .add("choices", StringType)
            .add("arguments", createArrayType(ARGUMENT, false), false)
            .add("pieces", createArrayType(createArrayType(PIECE, false), false), false)
            .add("requests", createArrayType(REQUEST, false), false)
            .add("problem", StringType);

    @Override
    public Iterator<Row> call(Iterator<Row> documents) {
        Maker maker = new Maker(runs, options, ModelFiles.text(model));
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                return documents.hasNext();
            }

            @Override
            public Row next() {
                return maker.make(documents.next());
            }
        };
    }

    /** One partition's templates and tokenizer. */
    private static final class Maker {
        private final List<TaskRun> runs;
        private final EvalOptions options;
        private final ModelText text;
        private final DocFields fields = new DocFields();
        private final Prefix prefix;
        private final @Nullable ChatTemplate template;
        private final Map<Integer, PromptBuilder> prompts = new HashMap<>();
        private final Map<Integer, Map<Integer, ObjectNode>> examples = new HashMap<>();

        Maker(List<TaskRun> runs, EvalOptions options, ModelText text) {
            this.runs = runs;
            this.options = options;
            this.text = text;
            this.prefix = Prefix.of(text);
            this.template = options.applyChatTemplate() ? options.chat().template(text) : null;
        }

        Row make(Row row) {
            int number = row.getInt(0);
            ObjectNode doc = EvalDocuments.object(row.getString(2));
            try {
                return made(row, number, doc);
            } catch (IllegalArgumentException e) {
                return RowFactory.create(
                        number,
                        row.getLong(1),
                        doc.toString(),
                        null,
                        null,
                        null,
                        new Row[0],
                        new Row[0][],
                        new Row[0],
                        e.getMessage());
            }
        }

        private Row made(Row row, int number, ObjectNode doc) {
            TaskRun run = runs.get(number);
            EvalTask task = run.task();
            JsonNode question = fields.text(task.fields(), doc);
            JsonNode target = fields.target(task.fields(), doc);
            JsonNode choices = fields.choices(task.fields(), doc);
            List<Argument> arguments = prompts.computeIfAbsent(
                            number, key -> new PromptBuilder(task, options, fields, template))
                    .arguments(doc, question, target, choices, shots(run, number, row.getLong(1)));
            Requests requests = new Requests(task, options, text, prefix);
            arguments.forEach(requests::add);
            return RowFactory.create(
                    number,
                    row.getLong(1),
                    doc.toString(),
                    question.toString(),
                    target.toString(),
                    choices == null ? null : choices.toString(),
                    arguments.stream()
                            .map(argument -> RowFactory.create(argument.context(), argument.continuation()))
                            .toArray(Row[]::new),
                    requests.pieces.toArray(new Row[0][]),
                    requests.rows(),
                    null);
        }

        private List<ObjectNode> shots(TaskRun run, int number, long place) {
            Map<Integer, ObjectNode> known = examples.computeIfAbsent(number, key -> new HashMap<>());
            return Arrays.stream(run.picks(place))
                    .mapToObj(pick -> known.computeIfAbsent(
                            pick,
                            at -> EvalDocuments.object(
                                    String.valueOf(run.examples().get(at)))))
                    .toList();
        }
    }

    /**
     * What stands before a text without context: the tokenizer's begin token, or its end token.
     *
     * @param token as it is written, or empty where there is none
     * @param begins whether it is the begin token
     */
    private record Prefix(String token, int id, boolean begins) {
        static Prefix of(ModelText text) {
            Tokenizer tokenizer = Objects.requireNonNull(text.tokenizer());
            JsonNode special = EvalDocuments.object(text.specialTokens());
            for (String name : List.of("bos_token", "eos_token")) {
                String token = special.path(name).asText("");
                Integer id = Evaluator.id(tokenizer, token);
                if (id != null) {
                    return new Prefix(token, id, name.equals("bos_token"));
                }
            }
            return text.endTokens().stream()
                    .findFirst()
                    .map(end -> new Prefix(tokenizer.decode(new int[] {end}, false), end, false))
                    .orElse(new Prefix("", -1, false));
        }

        /** @throws IllegalArgumentException if there is none */
        int[] alone() {
            if (id < 0) {
                throw new IllegalArgumentException(
                        "the tokenizer has neither a begin nor an end token to stand before a text");
            }
            return new int[] {id};
        }

        boolean leads(int[] ids) {
            return ids.length > 0 && ids[0] == id;
        }
    }

    /** A document's requests as the harness's Hugging Face backend would make them. */
    private static final class Requests {
        private final EvalTask task;
        private final EvalOptions options;
        private final ModelText text;
        private final Tokenizer tokenizer;
        private final Prefix prefix;
        private final Map<List<Integer>, List<int[]>> scored = new LinkedHashMap<>();
        private final List<int[]> generated = new ArrayList<>();
        private final List<Row[]> pieces = new ArrayList<>();

        Requests(EvalTask task, EvalOptions options, ModelText text, Prefix prefix) {
            this.task = task;
            this.options = options;
            this.text = text;
            this.tokenizer = Objects.requireNonNull(text.tokenizer());
            this.prefix = prefix;
        }

        void add(Argument argument) {
            switch (task.outputType()) {
                case GENERATE_UNTIL -> generate(argument.context());
                case LOGLIKELIHOOD_ROLLING -> roll(argument.context());
                case LOGLIKELIHOOD, MULTIPLE_CHOICE -> score(
                        argument.context(), String.valueOf(argument.continuation()));
            }
        }

        /** A begin token that the text has already, as a chat template may write it, does not stand there twice. */
        private int[] encode(String string) {
            boolean written = !prefix.token().isEmpty() && string.startsWith(prefix.token());
            Boolean asked = options.addBosToken();
            int[] ids = tokenizer.encode(string, !written && !Boolean.FALSE.equals(asked));
            boolean missing = Boolean.TRUE.equals(asked) && prefix.begins() && !prefix.leads(ids);
            return missing ? concat(prefix.alone(), ids) : ids;
        }

        private static int[] concat(int[] first, int[] second) {
            return IntStream.concat(Arrays.stream(first), Arrays.stream(second)).toArray();
        }

        private void generate(String context) {
            int[] ids = encode(context);
            int most = text.contextLength() - Generation.maxTokens(task);
            generated.add(ids.length > most ? Arrays.copyOfRange(ids, ids.length - most, ids.length) : ids);
            pieces.add(new Row[] {RowFactory.create(generated.size() - 1, 0)});
        }

        /** Spaces that end the context belong to the continuation; both are encoded as one text. */
        private void score(String context, String continuation) {
            if (context.isEmpty()) {
                int[] ids = tokenizer.encode(continuation, false);
                boolean has = ids.length > 1 && prefix.leads(ids);
                piece(prefix.alone(), has ? Arrays.copyOfRange(ids, 1, ids.length) : ids);
                return;
            }
            String head = Python.rstrip(context);
            String tail = context.substring(head.length()) + continuation;
            int[] whole = encode(head + tail);
            int[] before = encode(head);
            int cut = Math.min(before.length, whole.length);
            int[] after = Arrays.copyOfRange(whole, cut, whole.length);
            // The model reads all but the last token.
            int room = text.contextLength() + 1 - after.length;
            if (room < 1) {
                throw new IllegalArgumentException("a continuation of %d tokens does not fit the model's context of %d"
                        .formatted(after.length, text.contextLength()));
            }
            piece(
                    before.length > room ? Arrays.copyOfRange(before, before.length - room, before.length) : before,
                    after);
        }

        /** Windows that meet: each token is predicted once, with as much before it as the window leaves. */
        private void roll(String string) {
            int[] ids = encode(string);
            if (ids.length == 0) {
                throw new IllegalArgumentException("the text has no tokens");
            }
            int most = text.contextLength();
            List<Row> all = new ArrayList<>();
            int first = Math.min(most, ids.length);
            all.add(window(prefix.alone(), Arrays.copyOf(ids, first)));
            for (int done = first; done < ids.length; ) {
                int end = done + Math.min(ids.length - done, most);
                // The window's input, without the predicted tokens but the last one's neighbour.
                int[] before = Arrays.copyOfRange(ids, Math.max(0, end - most - 1), done);
                all.add(window(before, Arrays.copyOfRange(ids, done, end)));
                done = end;
            }
            pieces.add(all.toArray(new Row[0]));
        }

        private void piece(int[] before, int[] after) {
            pieces.add(new Row[] {window(before, after)});
        }

        /** A continuation of a context; continuations of one context are one request. */
        private Row window(int[] before, int[] after) {
            if (after.length == 0) {
                throw new IllegalArgumentException("a continuation has no tokens");
            }
            List<Integer> key = Arrays.stream(before).boxed().toList();
            List<int[]> continuations = scored.computeIfAbsent(key, context -> new ArrayList<>());
            continuations.add(after);
            return RowFactory.create(new ArrayList<>(scored.keySet()).indexOf(key), continuations.size() - 1);
        }

        Row[] rows() {
            List<Row> rows = new ArrayList<>();
            scored.forEach((context, continuations) -> rows.add(RowFactory.create(
                    context.toArray(),
                    continuations.stream()
                            .map(ids -> Arrays.stream(ids).boxed().toArray())
                            .toArray(Object[][]::new),
                    null,
                    null,
                    null,
                    null,
                    null,
                    null,
                    null,
                    null,
                    null)));
            generated.forEach(ids -> rows.add(Generation.request(task, ids)));
            return rows.toArray(new Row[0]);
        }
    }
}
