package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import io.nightmill.jobs.eval.EvalTask.MetricConfig;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** A task's figures by {@code metric,filter}, from the values of its documents in their order. */
final class Figures {
    /**
     * @param standardError NaN where the harness says N/A
     * @param values of the documents, where the figure is their mean; else none
     */
    record Figure(double value, double standardError, Map<Long, Double> values) {}

    private final EvalTask task;
    private final Map<String, Map<Long, JsonNode>> items = new LinkedHashMap<>();
    private final StringBuilder hashes = new StringBuilder();
    private final Map<Long, String> failed = new LinkedHashMap<>();

    Figures(EvalTask task) {
        this.task = task;
    }

    void add(String filter, long doc, Map<String, JsonNode> metrics) {
        metrics.forEach((metric, value) -> items.computeIfAbsent(metric + "," + filter, key -> new LinkedHashMap<>())
                .put(doc, value));
    }

    /** The sample's hashes, of which the task's is made. */
    void addHashes(JsonNode sample) {
        hashes.append(sample.path("doc_hash").asText())
                .append(sample.path("prompt_hash").asText())
                .append(sample.path("target_hash").asText());
    }

    void addFailure(long doc, String reason) {
        failed.put(doc, reason);
    }

    /** Documents without a value, with the reason. */
    Map<Long, String> failed() {
        return failed;
    }

    String hash() {
        return Python.hash(hashes.toString());
    }

    Map<String, Figure> all(int bootstrapIters) {
        Map<String, Figure> figures = new LinkedHashMap<>();
        items.forEach((key, values) -> {
            List<JsonNode> list = new ArrayList<>(values.values());
            MetricConfig config = config(key.substring(0, key.indexOf(',')));
            Function<List<JsonNode>, Double> own = ownAggregation(config);
            if (own != null) {
                figures.put(key, new Figure(own.apply(list), Double.NaN, Map.of()));
                return;
            }
            Aggregation aggregation = aggregation(config);
            Map<Long, Double> numbers = new LinkedHashMap<>();
            if (aggregation == Aggregation.MEAN) {
                values.forEach((doc, value) -> numbers.put(doc, value.asDouble()));
            }
            figures.put(
                    key, new Figure(aggregation.of(list), aggregation.standardError(list, bootstrapIters), numbers));
        });
        return figures;
    }

    private @Nullable MetricConfig config(String metric) {
        return task.metrics().stream()
                .filter(config -> config.name().equals(metric))
                .findFirst()
                .orElse(null);
    }

    private static @Nullable Function<List<JsonNode>, Double> ownAggregation(@Nullable MetricConfig config) {
        boolean isFunction = config != null
                && config.aggregation() != null
                && config.aggregation().contains("/");
        return isFunction ? TaskFunctions.aggregation(config.aggregation()) : null;
    }

    /** What the task says, or the registry; the mean of what neither knows. */
    private static Aggregation aggregation(@Nullable MetricConfig config) {
        if (config == null) {
            return Aggregation.MEAN;
        }
        if (config.aggregation() != null) {
            return Aggregation.of(config.aggregation());
        }
        Metric.Kind kind = Metric.Kind.of(config.name());
        return kind == null ? Aggregation.MEAN : kind.aggregation;
    }

    /** @throws IllegalArgumentException naming an aggregation that is not known */
    static void require(EvalTask task) {
        for (MetricConfig config : task.metrics()) {
            if (ownAggregation(config) == null) {
                aggregation(config);
            }
        }
    }
}
