package io.nightmill.pipeline;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Completion.Failure;
import java.io.Serializable;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.SparkContext;
import org.apache.spark.util.LongAccumulator;

/**
 * Sums over all tasks of a run, as Spark accumulators.
 *
 * @param work {@link io.nightmill.engine.Work#table} of all steps
 * @param lengths how many rows have prompts and outputs of how many tokens, {@code [2][BINS]}: bin b is from 2<sup>b</sup> on
 */
record RunCounters(
        LongAccumulator rows,
        LongAccumulator promptTokens,
        LongAccumulator completionTokens,
        LongAccumulator cachedTokens,
        LongAccumulator duplicates,
        TableSum expertLoad,
        TableSum work,
        TableSum lengths,
        ShardRuns shards,
        ErrorExamples examples,
        EnumMap<Failure.Code, LongAccumulator> failures)
        implements Serializable {

    private static final int BINS = 24;

    static RunCounters on(SparkContext spark) {
        EnumMap<Failure.Code, LongAccumulator> failures = new EnumMap<>(Failure.Code.class);
        for (Failure.Code code : Failure.Code.values()) {
            failures.put(code, spark.longAccumulator("nightmill errors " + name(code)));
        }
        TableSum expertLoad = new TableSum();
        spark.register(expertLoad, "nightmill expert load");
        TableSum work = new TableSum();
        spark.register(work, "nightmill work");
        TableSum lengths = new TableSum();
        spark.register(lengths, "nightmill lengths");
        ShardRuns shards = new ShardRuns();
        spark.register(shards, "nightmill shards");
        ErrorExamples examples = new ErrorExamples();
        spark.register(examples, "nightmill error examples");
        return new RunCounters(
                spark.longAccumulator("nightmill rows"),
                spark.longAccumulator("nightmill prompt tokens"),
                spark.longAccumulator("nightmill completion tokens"),
                spark.longAccumulator("nightmill cached tokens"),
                spark.longAccumulator("nightmill duplicates"),
                expertLoad,
                work,
                lengths,
                shards,
                examples,
                failures);
    }

    private static String name(Failure.Code code) {
        return code.name().toLowerCase(Locale.ROOT);
    }

    /**
     * Counts a row that was computed.
     *
     * @param outputs tokens written or scored
     * @param generated of them, those written
     */
    void count(PlannedRow row, Completion completion, int outputs, int generated) {
        if (completion.failure() != null) {
            countFailed(row, completion.failure());
            return;
        }
        rows.add(1);
        promptTokens.add(row.prompt().length);
        completionTokens.add(generated);
        cachedTokens.add(completion.cachedTokens());
        long[][] table = new long[2][BINS];
        table[0][bin(row.prompt().length)]++;
        table[1][bin(outputs)]++;
        lengths.add(table);
    }

    private static int bin(int tokens) {
        return Math.min(BINS - 1, 31 - Integer.numberOfLeadingZeros(Math.max(1, tokens)));
    }

    void countFailed(PlannedRow row, Failure failure) {
        rows.add(1);
        failures.get(failure.code()).add(1);
        examples.add(Map.of(name(failure.code()), List.of(row.id() + ": " + failure.message())));
        NightmillPlugin.failed(name(failure.code()));
    }

    /** A row that was answered with another. */
    void countDuplicate(PlannedRow row, Completion completion) {
        duplicates.add(1);
        if (completion.failure() == null) {
            rows.add(1);
        } else {
            countFailed(row, completion.failure());
        }
    }

    /** Failed rows by code. */
    Map<String, Long> errors() {
        Map<String, Long> errors = new TreeMap<>();
        failures.forEach((code, count) -> {
            if (count.value() > 0) {
                errors.put(name(code), count.value());
            }
        });
        return errors;
    }
}
