package io.nightmill.pipeline;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.util.AccumulatorV2;

/** Some failed rows of each error code, as "id: message". */
final class ErrorExamples extends AccumulatorV2<Map<String, List<String>>, Map<String, List<String>>> {
    private static final int MOST = 5;

    private final TreeMap<String, List<String>> examples = new TreeMap<>();

    @Override
    public synchronized boolean isZero() {
        return examples.isEmpty();
    }

    @Override
    public ErrorExamples copy() {
        ErrorExamples copy = new ErrorExamples();
        copy.add(value());
        return copy;
    }

    @Override
    public synchronized void reset() {
        examples.clear();
    }

    @Override
    public synchronized void add(Map<String, List<String>> more) {
        more.forEach((code, rows) -> {
            List<String> known = examples.computeIfAbsent(code, key -> new ArrayList<>());
            rows.stream()
                    .filter(row -> known.size() < MOST && !known.contains(row))
                    .forEach(known::add);
        });
    }

    @Override
    public void merge(AccumulatorV2<Map<String, List<String>>, Map<String, List<String>>> other) {
        add(other.value());
    }

    /** A copy: Spark's UI looks at it from another thread. */
    @Override
    public synchronized Map<String, List<String>> value() {
        Map<String, List<String>> copy = new TreeMap<>();
        examples.forEach((code, rows) -> copy.put(code, List.copyOf(rows)));
        return copy;
    }
}
