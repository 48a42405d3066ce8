package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.Figures.Figure;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.commons.math3.stat.inference.TTest;

/** Models side by side. Where a figure is a mean over documents, the first model is compared with each other by pairs of documents. */
final class ModelComparison {
    private final Map<String, EvalResults> models = new LinkedHashMap<>();

    void add(String model, EvalResults results) {
        models.put(model, results);
    }

    /** @param difference of the other's mean from the first's, over documents that both have; with its standard error and t-test */
    private record Paired(double difference, double standardError, double p) {}

    private static Paired paired(Figure first, Figure other) {
        List<Double> a = new ArrayList<>();
        List<Double> b = new ArrayList<>();
        first.values().forEach((doc, value) -> {
            if (other.values().containsKey(doc)) {
                a.add(value);
                b.add(other.values().get(doc));
            }
        });
        double[] before = a.stream().mapToDouble(Double::doubleValue).toArray();
        double[] after = b.stream().mapToDouble(Double::doubleValue).toArray();
        double[] differences = new double[before.length];
        double sum = 0;
        for (int i = 0; i < before.length; i++) {
            differences[i] = after[i] - before[i];
            sum += differences[i];
        }
        if (before.length < 2) {
            return new Paired(sum / Math.max(1, before.length), Double.NaN, Double.NaN);
        }
        double error = Aggregation.deviation(differences) / Math.sqrt(differences.length);
        // Models that differ nowhere, or everywhere alike, leave the test nothing to divide by.
        double p = error == 0 ? (sum == 0 ? 1 : 0) : new TTest().pairedTTest(before, after);
        return new Paired(sum / differences.length, error, p);
    }

    private interface Visitor {
        void visit(String task, String key, List<Figure> figures);
    }

    private void each(Visitor visitor) {
        EvalResults first = models.values().iterator().next();
        first.figures().forEach((task, figures) -> figures.keySet().forEach(key -> {
            List<Figure> all = new ArrayList<>();
            for (EvalResults results : models.values()) {
                Figure figure = results.figures().getOrDefault(task, Map.of()).get(key);
                if (figure == null) {
                    return;
                }
                all.add(figure);
            }
            visitor.visit(task, key, all);
        }));
    }

    String table() {
        List<String> headers = new ArrayList<>(List.of("Tasks", "Filter", "Metric"));
        List<String> names = List.copyOf(models.keySet());
        headers.addAll(names);
        for (String name : names.subList(1, names.size())) {
            headers.addAll(List.of("Δ " + name, "Stderr", "p"));
        }
        List<List<String>> rows = new ArrayList<>();
        each((task, key, figures) -> {
            List<String> row = new ArrayList<>(
                    List.of(task, key.substring(key.indexOf(',') + 1), key.substring(0, key.indexOf(','))));
            figures.forEach(figure -> row.add(four(figure.value())));
            for (Figure other : figures.subList(1, figures.size())) {
                boolean isMean = !other.values().isEmpty();
                Paired paired = paired(figures.get(0), other);
                row.add(four(other.value() - figures.get(0).value()));
                row.add(isMean ? four(paired.standardError()) : "");
                row.add(isMean ? four(paired.p()) : "");
            }
            rows.add(row);
        });
        return MarkdownTable.of(headers, rows);
    }

    private static String four(double value) {
        return Double.isNaN(value) ? "N/A" : String.format(Locale.ROOT, "%.4f", value);
    }

    ObjectNode json() {
        ObjectNode root = new ObjectMapper().createObjectNode();
        ArrayNode names = root.putArray("models");
        models.keySet().forEach(names::add);
        ArrayNode rows = root.putArray("comparisons");
        each((task, key, figures) -> {
            ObjectNode row = rows.addObject();
            row.put("task", task).put("metric", key);
            ArrayNode values = row.putArray("values");
            figures.forEach(figure -> values.add(figure.value()));
            ArrayNode against = row.putArray("against_first");
            for (Figure other : figures.subList(1, figures.size())) {
                ObjectNode pair = against.addObject();
                pair.put("difference", other.value() - figures.get(0).value());
                if (!other.values().isEmpty()) {
                    Paired paired = paired(figures.get(0), other);
                    pair.put("stderr", paired.standardError()).put("p_value", paired.p());
                }
            }
        });
        return root;
    }
}
