package io.nightmill.pipeline;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.engine.Completion.Failure;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.jspecify.annotations.Nullable;

/**
 * Rows that will fail, as far as the plan can tell: those that cannot be read, and those that do not fit the context.
 */
record Rejections(int contextLength) implements FlatMapFunction<Iterator<ArrowBatch>, Rejections.Found> {
    private static final int EXAMPLES = 3;

    /** How many rows of a code, and the ids and reasons of some. */
    record Found(String code, long count, ArrayList<String> examples) implements Serializable {
        void addTo(ObjectNode json) {
            ObjectNode mine = json.withObject("/" + code);
            mine.put("rows", mine.path("rows").asLong() + count);
            examples.stream()
                    .limit(Math.max(0, EXAMPLES - mine.path("examples").size()))
                    .forEach(mine.withArray("examples")::add);
        }
    }

    @Override
    public Iterator<Found> call(Iterator<ArrowBatch> batches) {
        Map<String, List<String>> reasons = new TreeMap<>();
        Map<String, Long> counts = new TreeMap<>();
        ArrowBatches.read(batches).flatMap(List::stream).forEach(row -> {
            Failure failure = failure(row);
            if (failure != null) {
                String code = failure.code().name().toLowerCase(Locale.ROOT);
                counts.merge(code, 1L, Long::sum);
                List<String> some = reasons.computeIfAbsent(code, key -> new ArrayList<>());
                if (some.size() < EXAMPLES) {
                    some.add(row.id() + ": " + failure.message());
                }
            }
        });
        return counts.entrySet().stream()
                .map(entry -> new Found(entry.getKey(), entry.getValue(), new ArrayList<>(reasons.get(entry.getKey()))))
                .iterator();
    }

    private @Nullable Failure failure(PlannedRow row) {
        // As the engine will: an output has a token at least.
        long least = row.continuations().isEmpty() ? row.prompt().length : row.cost(0);
        return row.failure() == null && least > contextLength
                ? new Failure(
                        Failure.Code.TOO_LONG,
                        "%d tokens do not fit the model's context of %d".formatted(least, contextLength))
                : row.failure();
    }
}
