package io.nightmill.pipeline;

import io.nightmill.engine.Completion.Failure;
import java.io.Serializable;
import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.SparkContext;
import org.apache.spark.util.LongAccumulator;
import org.jspecify.annotations.Nullable;

/** Sums over all tasks of a run, as Spark accumulators. */
record RunCounters(
        LongAccumulator rows,
        LongAccumulator promptTokens,
        LongAccumulator completionTokens,
        LongAccumulator duplicates,
        ExpertLoadSum expertLoad,
        ShardAttempts attempts,
        EnumMap<Failure.Code, LongAccumulator> failures)
        implements Serializable {

    static RunCounters on(SparkContext spark) {
        EnumMap<Failure.Code, LongAccumulator> failures = new EnumMap<>(Failure.Code.class);
        for (Failure.Code code : Failure.Code.values()) {
            failures.put(
                    code,
                    spark.longAccumulator("nightmill errors " + code.name().toLowerCase(Locale.ROOT)));
        }
        ExpertLoadSum expertLoad = new ExpertLoadSum();
        spark.register(expertLoad, "nightmill expert load");
        ShardAttempts attempts = new ShardAttempts();
        spark.register(attempts, "nightmill shard attempts");
        return new RunCounters(
                spark.longAccumulator("nightmill rows"),
                spark.longAccumulator("nightmill prompt tokens"),
                spark.longAccumulator("nightmill completion tokens"),
                spark.longAccumulator("nightmill duplicates"),
                expertLoad,
                attempts,
                failures);
    }

    void count(PlannedRow row, @Nullable Failure failure, int generated) {
        rows.add(1);
        if (failure == null) {
            promptTokens.add(row.prompt().length);
            completionTokens.add(generated);
        } else {
            failures.get(failure.code()).add(1);
        }
    }

    /** A row that was answered with another. */
    void countDuplicate(@Nullable Failure failure) {
        rows.add(1);
        duplicates.add(1);
        if (failure != null) {
            failures.get(failure.code()).add(1);
        }
    }

    /** Failed rows by code. */
    Map<String, Long> errors() {
        Map<String, Long> errors = new TreeMap<>();
        failures.forEach((code, count) -> {
            if (count.value() > 0) {
                errors.put(code.name().toLowerCase(Locale.ROOT), count.value());
            }
        });
        return errors;
    }
}
