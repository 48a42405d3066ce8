package io.nightmill.pipeline;

import static org.apache.spark.sql.types.DataTypes.BooleanType;
import static org.apache.spark.sql.types.DataTypes.DoubleType;
import static org.apache.spark.sql.types.DataTypes.FloatType;
import static org.apache.spark.sql.types.DataTypes.IntegerType;
import static org.apache.spark.sql.types.DataTypes.LongType;
import static org.apache.spark.sql.types.DataTypes.StringType;
import static org.apache.spark.sql.types.DataTypes.createArrayType;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Completion.Failure;
import io.nightmill.engine.Completion.Output;
import io.nightmill.engine.Request.Ask;
import io.nightmill.engine.Sampling;
import io.nightmill.engine.TokenScores;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.catalyst.encoders.ExpressionEncoder;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/** The output table: its schema, and its rows. */
final class Results {
    private static final StructType TOP =
            new StructType().add("token_id", IntegerType, false).add("logprob", FloatType, false);
    private static final StructType TOKEN = new StructType()
            .add("token_id", IntegerType, false)
            .add("logprob", FloatType, false)
            .add("rank", IntegerType, false)
            .add("top", createArrayType(TOP, false));
    private static final StructType OUTPUT = new StructType()
            .add("index", IntegerType, false)
            .add("text", StringType)
            .add("token_ids", createArrayType(IntegerType, false), false)
            .add("finish_reason", StringType, false)
            .add("stop_reason", StringType)
            .add("cumulative_logprob", DoubleType, false)
            .add("logprobs", createArrayType(TOKEN, false));
    private static final StructType USAGE =
            new StructType().add("prompt_tokens", IntegerType, false).add("completion_tokens", IntegerType, false);
    private static final StructType ERROR =
            new StructType().add("code", StringType, false).add("message", StringType, false);
    /** What this run did for the row: the only column that another run may fill otherwise. */
    private static final StructType TIMING = new StructType()
            .add("cached_tokens", IntegerType, false)
            .add("queued_ms", LongType, false)
            .add("first_token_ms", LongType, false)
            .add("total_ms", LongType, false);

    private static final StructType SCORE = new StructType()
            .add("logprob", DoubleType, false)
            .add("is_greedy", BooleanType, false)
            .add("token_count", IntegerType, false)
            .add("char_count", IntegerType);

    private final Plan plan;
    private final int statusColumn;
    private final ExpressionEncoder.@Nullable Deserializer<Row> keepReader;

    Results(Plan plan) {
        this.plan = plan;
        this.statusColumn = schema(plan).fieldIndex("status");
        this.keepReader = plan.kept().isEmpty() ? null : Encoders.deserializer(plan.kept());
    }

    static StructType schema(Plan plan) {
        StructType schema = new StructType().add("id", StringType, false);
        DataType ids = createArrayType(IntegerType, false);
        schema = switch (plan.kind()) {
            case GENERATE -> schema.add("outputs", createArrayType(OUTPUT, false))
                    .add("prompt_token_ids", ids)
                    .add("prompt_logprobs", createArrayType(TOKEN, true))
                    .add("usage", USAGE)
                    .add("status", StringType, false)
                    .add("error", ERROR)
                    .add("timing", TIMING);
            case MIXED -> schema.add("outputs", createArrayType(OUTPUT, false))
                    .add("scores", createArrayType(SCORE, false))
                    .add("usage", USAGE)
                    .add("status", StringType, false)
                    .add("error", ERROR)
                    .add("timing", TIMING);
            case SCORE -> schema.add("token_ids", ids)
                    .add("token_logprobs", createArrayType(FloatType, true))
                    .add("top_logprobs", createArrayType(createArrayType(TOP, false), true))
                    .add("token_count", IntegerType)
                    .add("logprob_sum", DoubleType)
                    .add("logprob_mean", DoubleType)
                    .add("perplexity", DoubleType)
                    .add("status", StringType, false)
                    .add("error", ERROR);
            case SCORE_CONTINUATIONS -> schema.add("scores", createArrayType(SCORE, false))
                    .add("status", StringType, false)
                    .add("error", ERROR);
        };
        schema = schema.add("fingerprint", StringType, false);
        for (StructField kept : plan.kept().fields()) {
            schema = schema.add(kept);
        }
        return schema;
    }

    /** A row that did not run. */
    Row failed(PlannedRow row, Failure failure) {
        List<Object> values = new ArrayList<>(List.of(row.id()));
        for (int i = 1; i < statusColumn; i++) {
            values.add(null);
        }
        values.add("error");
        values.add(RowFactory.create(failure.code().name().toLowerCase(Locale.ROOT), failure.message()));
        if (plan.kind().generates()) {
            values.add(null);
        }
        return withKept(values, row);
    }

    Row of(PlannedRow row, Completion completion) {
        if (completion.failure() != null) {
            return failed(row, completion.failure());
        }
        List<Object> values = new ArrayList<>(List.of(row.id()));
        switch (plan.kind()) {
            case GENERATE -> addGenerated(values, row, completion);
            case SCORE -> addScored(values, row, completion);
            case SCORE_CONTINUATIONS -> addContinuations(values, row, completion);
            case MIXED -> addMixed(values, row, completion);
        }
        return withKept(values, row);
    }

    private Row withKept(List<Object> values, PlannedRow row) {
        values.add(row.fingerprint());
        if (keepReader != null && row.keep() != null) {
            UnsafeRow unsafe = new UnsafeRow(plan.kept().size());
            unsafe.pointTo(row.keep(), row.keep().length);
            Row kept = keepReader.apply(unsafe);
            for (int i = 0; i < kept.size(); i++) {
                values.add(kept.get(i));
            }
        }
        return RowFactory.create(values.toArray());
    }

    private void addGenerated(List<Object> values, PlannedRow row, Completion completion) {
        values.add(outputs(completion));
        TokenScores prompt = completion.prompt();
        values.add(prompt != null || plan.returnTokenIds() ? box(row.prompt()) : null);
        values.add(prompt == null ? null : tokens(row.prompt(), prompt, 1));
        addEnd(values, row, completion);
    }

    private void addMixed(List<Object> values, PlannedRow row, Completion completion) {
        boolean generates = plan.generates(row);
        values.add(generates ? outputs(completion) : null);
        values.add(generates ? null : scores(row, completion));
        addEnd(values, row, completion);
    }

    private static void addEnd(List<Object> values, PlannedRow row, Completion completion) {
        int tokens = completion.outputs().stream()
                .mapToInt(output -> output.tokens().length)
                .sum();
        values.add(RowFactory.create(row.prompt().length, tokens));
        values.add("ok");
        values.add(null);
        Completion.Timing timing = completion.timing();
        values.add(RowFactory.create(completion.cachedTokens(), timing.queued(), timing.firstToken(), timing.total()));
    }

    private static Object[] outputs(Completion completion) {
        Sampling sampling = ((Ask.Generate) completion.request().ask()).sampling();
        List<Row> outputs = new ArrayList<>();
        for (Output output : completion.outputs()) {
            outputs.add(RowFactory.create(
                    output.index(),
                    output.text(),
                    box(output.tokens()),
                    output.finish().name().toLowerCase(Locale.ROOT),
                    output.stopReason(),
                    output.scores().sum(),
                    sampling.logprobs() == null ? null : tokens(output.tokens(), output.scores(), 0)));
        }
        return outputs.toArray();
    }

    private static Object[] box(int[] values) {
        return Arrays.stream(values).boxed().toArray();
    }

    /** @param skipped leading tokens that have no score: they become null */
    private static Object[] tokens(int[] ids, TokenScores scores, int skipped) {
        Object[] rows = new Object[ids.length];
        for (int i = skipped; i < ids.length; i++) {
            int at = i - skipped;
            Object[] top = scores.tops().isEmpty() ? null : top(scores.tops().get(at));
            rows[i] = RowFactory.create(ids[i], scores.logprob(at), scores.rank(at), top);
        }
        return rows;
    }

    private static Object[] top(TokenScores.Top top) {
        Object[] rows = new Object[top.tokens().length];
        for (int j = 0; j < rows.length; j++) {
            rows[j] = RowFactory.create(top.tokens()[j], top.logprobs()[j]);
        }
        return rows;
    }

    private void addScored(List<Object> values, PlannedRow row, Completion completion) {
        TokenScores scores = completion.prompt();
        if (scores == null) {
            throw new IllegalStateException("the prompt of " + row.id() + " was not scored");
        }
        int count = row.prompt().length;
        Object[] logprobs = new Object[count];
        Object[] tops = new Object[count];
        for (int i = 1; i < count; i++) {
            logprobs[i] = scores.logprob(i - 1);
            tops[i] = scores.tops().isEmpty() ? null : top(scores.tops().get(i - 1));
        }
        double sum = scores.sum();
        Double mean = count > 1 ? sum / (count - 1) : null;
        values.add(box(row.prompt()));
        values.add(logprobs);
        values.add(plan.topLogprobs() > 0 ? tops : null);
        values.add(count);
        values.add(sum);
        values.add(mean);
        values.add(mean == null ? null : Math.exp(-mean));
        values.add("ok");
        values.add(null);
    }

    private static void addContinuations(List<Object> values, PlannedRow row, Completion completion) {
        values.add(scores(row, completion));
        values.add("ok");
        values.add(null);
    }

    private static Object[] scores(PlannedRow row, Completion completion) {
        List<Row> scores = new ArrayList<>();
        for (Output output : completion.outputs()) {
            int characters = row.characters()[output.index()];
            scores.add(RowFactory.create(
                    output.scores().sum(),
                    output.scores().greedy(),
                    output.tokens().length,
                    characters < 0 ? null : characters));
        }
        return scores.toArray();
    }
}
