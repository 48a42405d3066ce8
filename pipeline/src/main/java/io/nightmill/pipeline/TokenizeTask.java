package io.nightmill.pipeline;

import io.nightmill.engine.Completion.Failure;
import io.nightmill.engine.Sampling;
import io.nightmill.models.ModelText;
import io.nightmill.runtime.SamplingJson;
import io.nightmill.text.ChatTemplate;
import io.nightmill.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.encoders.ExpressionEncoder;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.collection.Seq;
import scala.jdk.javaapi.CollectionConverters;

/** Rows of {@link Prompts} to {@link ArrowBatch}es of token ids. Runs on executors. */
record TokenizeTask(Plan plan) implements FlatMapFunction<Iterator<Row>, ArrowBatch> {
    private static final Logger LOG = LoggerFactory.getLogger(TokenizeTask.class);
    private static final int BATCH_ROWS = 256;

    @Override
    public Iterator<ArrowBatch> call(Iterator<Row> rows) {
        Reader reader = new Reader(plan);
        Iterator<List<PlannedRow>> pieces = new Iterator<>() {
            @Override
            public boolean hasNext() {
                return rows.hasNext();
            }

            @Override
            public List<PlannedRow> next() {
                List<PlannedRow> piece = new ArrayList<>();
                while (piece.size() < BATCH_ROWS && rows.hasNext()) {
                    piece.add(reader.read(rows.next()));
                }
                return piece;
            }
        };
        return ArrowBatches.write(pieces, piece -> piece, (piece, batch) -> batch);
    }

    /** One task's tokenizer, template and encoders. */
    private static final class Reader {
        private final Plan plan;
        private final ModelText text;
        /** Started by the first row that has messages: it costs a second. */
        private @Nullable ChatTemplate template;

        private final ExpressionEncoder.@Nullable Serializer<Row> keepSerializer;

        Reader(Plan plan) {
            this.plan = plan;
            this.text = ModelFiles.text(plan.spec().path());
            StructType kept = plan.kept();
            this.keepSerializer = kept.isEmpty() ? null : Encoders.serializer(kept);
        }

        PlannedRow read(Row row) {
            String id = row.getAs("id");
            byte[] keep = keep(row);
            String sampling = row.getAs("sampling");
            try {
                return plan(row, id, keep, sampling);
            } catch (IllegalArgumentException e) {
                Failure failure = new Failure(Failure.Code.BAD_INPUT, String.valueOf(e.getMessage()));
                String fingerprint = Fingerprint.ofFailure(plan, id, failure.message());
                return new PlannedRow(id, new int[0], List.of(), new int[0], sampling, keep, fingerprint, failure);
            }
        }

        private byte @Nullable [] keep(Row row) {
            Row kept = row.getAs("keep");
            return keepSerializer == null || kept == null
                    ? null
                    : ((UnsafeRow) keepSerializer.apply(kept)).getBytes().clone();
        }

        private PlannedRow plan(Row row, String id, byte @Nullable [] keep, @Nullable String rowSampling) {
            String problem = row.getAs("problem");
            if (problem != null) {
                throw new IllegalArgumentException(problem);
            }
            boolean continues = row.getAs("choices") != null || row.getAs("choice_ids") != null;
            boolean generates = plan.kind() == Plan.Kind.GENERATE || plan.kind() == Plan.Kind.MIXED && !continues;
            int reserve = 0;
            if (generates) {
                Sampling sampling = SamplingJson.parse(plan.sampling(), rowSampling);
                reserve = Math.min(sampling.maxTokens(), text.contextLength() - 1);
            }
            List<int[]> continuations = new ArrayList<>();
            List<Integer> characters = new ArrayList<>();
            int[] prompt = null;
            if (plan.kind() != Plan.Kind.SCORE && !generates) {
                prompt = continuations(row, continuations, characters);
                reserve =
                        continuations.stream().mapToInt(ids -> ids.length).max().orElse(0);
            }
            if (prompt == null) {
                prompt = prompt(row);
            }
            if (plan.logPrompts()) {
                LOG.info(
                        "Row {}: {}",
                        id,
                        text.tokenizer() == null
                                ? Arrays.toString(prompt)
                                : text.tokenizer().decode(prompt, false));
            }
            prompt = fit(prompt, reserve);
            int[] lengths = characters.stream().mapToInt(Integer::intValue).toArray();
            String fingerprint = Fingerprint.ofRow(plan, id, prompt, continuations, rowSampling, keep);
            return new PlannedRow(id, prompt, continuations, lengths, rowSampling, keep, fingerprint, null);
        }

        private int[] prompt(Row row) {
            Seq<Object> given = row.getAs("token_ids");
            if (given != null) {
                return ids(given);
            }
            String messages = row.getAs("messages");
            if (messages != null) {
                if (template == null) {
                    template = plan.chat().template(text);
                }
                // The template has put the begin token where it belongs.
                return tokenizer().encode(template.render(plan.chat().request(messages, row.getAs("chat"))), false);
            }
            return tokenizer().encode(promptText(row), true);
        }

        private static String promptText(Row row) {
            String prompt = row.getAs("prompt");
            if (prompt == null) {
                throw new IllegalArgumentException("the prompt is null");
            }
            return prompt;
        }

        private Tokenizer tokenizer() {
            if (text.tokenizer() == null) {
                throw new IllegalArgumentException("the model has no tokenizer, expected a column prompt_token_ids");
            }
            return text.tokenizer();
        }

        private static int[] ids(Seq<Object> values) {
            return CollectionConverters.asJava(values).stream()
                    .mapToInt(value -> {
                        if (value == null || (long) value != ((Long) value).intValue()) {
                            throw new IllegalArgumentException("token id %s is not a 32-bit integer".formatted(value));
                        }
                        return ((Long) value).intValue();
                    })
                    .toArray();
        }

        /**
         * Reads the row's continuations, and its prompt where their texts meet: as lm-evaluation-harness does, trailing
         * spaces of the prompt go to the continuation, and the whole is encoded at once. Returns null where the prompt is
         * to be read by itself.
         */
        private int @Nullable [] continuations(Row row, List<int[]> out, List<Integer> characters) {
            Seq<Seq<Object>> given = row.getAs("choice_ids");
            if (given != null) {
                for (Seq<Object> choice : CollectionConverters.asJava(given)) {
                    out.add(ids(choice));
                    characters.add(-1);
                }
                return null;
            }
            Seq<String> texts = row.getAs("choices");
            if (texts == null) {
                throw new IllegalArgumentException("the continuation is null");
            }
            if (row.getAs("token_ids") != null || row.getAs("messages") != null) {
                for (String choice : CollectionConverters.asJava(texts)) {
                    out.add(tokenizer().encode(requireChoice(choice), false));
                    characters.add(choice.codePointCount(0, choice.length()));
                }
                return null;
            }
            String prompt = promptText(row);
            String context = prompt.stripTrailing();
            String spaces = prompt.substring(context.length());
            int[] contextIds = tokenizer().encode(context, true);
            for (String choice : CollectionConverters.asJava(texts)) {
                int[] whole = tokenizer().encode(context + spaces + requireChoice(choice), true);
                out.add(Arrays.copyOfRange(whole, Math.min(contextIds.length, whole.length), whole.length));
                characters.add(choice.codePointCount(0, choice.length()));
            }
            return contextIds;
        }

        private static String requireChoice(@Nullable String choice) {
            if (choice == null) {
                throw new IllegalArgumentException("a choice is null");
            }
            return choice;
        }

        /** The prompt as it is, or cut as the job says where it does not fit; what remains too long fails in the engine. */
        private int[] fit(int[] prompt, int reserve) {
            if (plan.onTooLong() == OnTooLong.ERROR || prompt.length + reserve <= text.contextLength()) {
                return prompt;
            }
            int keep = Math.max(1, text.contextLength() - reserve);
            return plan.onTooLong() == OnTooLong.TRUNCATE_LEFT
                    ? Arrays.copyOfRange(prompt, prompt.length - keep, prompt.length)
                    : Arrays.copyOf(prompt, keep);
        }
    }
}
