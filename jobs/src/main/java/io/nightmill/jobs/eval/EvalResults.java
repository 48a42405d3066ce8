package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.MetricConfig;
import io.nightmill.jobs.eval.Figures.Figure;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The harness's results: its JSON and its tables. */
final class EvalResults {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String NOT_AVAILABLE = "N/A";

    private final Map<String, TaskRun> runs = new LinkedHashMap<>();
    private final Map<String, Map<String, Figure>> figures = new LinkedHashMap<>();
    private final ObjectNode root = JSON.createObjectNode();
    private final ObjectNode results = root.putObject("results");
    private final ObjectNode groups = JSON.createObjectNode();
    private final ObjectNode subtasks = JSON.createObjectNode();
    private final Map<String, JsonNode> versions = new TreeMap<>();

    /**
     * @param roots what was asked for
     * @param bootstrapIters of standard errors that have no closed form
     */
    EvalResults(List<TaskTree> roots, Evaluation.Outcome outcome, int bootstrapIters) {
        outcome.runs().forEach(run -> runs.put(run.task().name(), run));
        outcome.figures().forEach((task, all) -> figures.put(task, all.all(bootstrapIters)));
        roots.forEach(node -> add(node, 0));
        if (!groups.isEmpty()) {
            root.set("groups", groups);
        }
        root.set("group_subtasks", subtasks);
        ObjectNode configs = root.putObject("configs");
        runs.forEach((name, run) -> configs.set(name, config(run.task())));
        ObjectNode versioned = root.putObject("versions");
        versions.forEach(versioned::set);
        ObjectNode shots = root.putObject("n-shot");
        new TreeMap<>(runs)
                .forEach((name, run) -> shots.put(name, run.task().fewShot().count()));
        ObjectNode better = root.putObject("higher_is_better");
        roots.forEach(node -> higherIsBetter(node, better));
        ObjectNode counts = root.putObject("n-samples");
        runs.forEach((name, run) ->
                counts.putObject(name).put("original", run.documents()).put("effective", run.effective()));
        ObjectNode hashes = root.putObject("task_hashes");
        ObjectNode failed = JSON.createObjectNode();
        outcome.figures().forEach((task, all) -> {
            hashes.put(task, all.hash());
            if (!all.failed().isEmpty()) {
                ObjectNode documents = failed.putObject(task);
                all.failed().forEach((doc, reason) -> documents.put(String.valueOf(doc), reason));
            }
        });
        if (!failed.isEmpty()) {
            root.set("failed_documents", failed);
        }
    }

    ObjectNode json() {
        return root;
    }

    Map<String, Map<String, Figure>> figures() {
        return figures;
    }

    private static ObjectNode config(EvalTask task) {
        ObjectNode config = task.config().deepCopy();
        config.put("num_fewshot", task.fewShot().count());
        config.put("description", task.description());
        config.put("target_delimiter", task.targetDelimiter()).put("fewshot_delimiter", task.fewshotDelimiter());
        config.put("repeats", task.repeats()).put("unsafe_code", task.unsafeCode());
        return config;
    }

    private static String indented(String alias, int depth) {
        return (depth > 0 ? " ".repeat(depth) + "- " : "") + alias;
    }

    private void add(TaskTree node, int depth) {
        ObjectNode own = results.putObject(node.name());
        own.put("name", node.name());
        own.put("alias", indented(node.alias(), depth));
        if (node instanceof TaskTree.Leaf leaf) {
            addLeaf(leaf.task(), own);
        } else if (node instanceof TaskTree.Group group) {
            ArrayNode names = subtasks.putArray(group.name());
            group.members().forEach(member -> names.add(member.name()));
            addGroup(group, own);
            if (!group.metrics().isEmpty()) {
                groups.putObject(group.name()).setAll(own);
            }
            version(group.name(), group.version());
            group.members().forEach(member -> add(member, depth + 1));
        }
    }

    private void addLeaf(EvalTask task, ObjectNode own) {
        own.put("sample_len", runs.get(task.name()).effective());
        figures.getOrDefault(task.name(), Map.of())
                .forEach((key, figure) -> put(own, key, figure.value(), figure.standardError()));
        version(task.name(), task.version());
    }

    private void version(String name, JsonNode version) {
        if (!version.isMissingNode() && !version.isNull()) {
            versions.put(name, version);
        }
    }

    private static void put(ObjectNode own, String key, double value, double standardError) {
        int comma = key.indexOf(',');
        own.put(key, value);
        String error = key.substring(0, comma) + "_stderr" + key.substring(comma);
        if (Double.isNaN(standardError)) {
            own.put(error, NOT_AVAILABLE);
        } else {
            own.put(error, standardError);
        }
    }

    /** Means over the group's tasks, by size or not; their standard error is that of the pooled samples. */
    private void addGroup(TaskTree.Group group, ObjectNode own) {
        List<EvalTask> tasks = TaskTree.tasks(List.of(group));
        own.put(
                "sample_len",
                tasks.stream()
                        .mapToLong(task -> runs.get(task.name()).effective())
                        .sum());
        for (TaskTree.Aggregate metric : group.metrics()) {
            for (String filter : metric.filters()) {
                String key = metric.metric() + "," + filter;
                double sum = 0;
                double weights = 0;
                double variance = 0;
                double size = 0;
                int count = 0;
                for (EvalTask task : tasks) {
                    Figure figure = figures.get(task.name()).get(key);
                    if (figure == null) {
                        continue;
                    }
                    double n = runs.get(task.name()).effective();
                    sum += figure.value() * (metric.weightBySize() ? n : 1);
                    weights += metric.weightBySize() ? n : 1;
                    variance += (n - 1) * figure.standardError() * figure.standardError() * n;
                    size += n;
                    count++;
                }
                if (count > 0) {
                    put(own, key, sum / weights, Math.sqrt(variance / (size - count) / size));
                }
            }
        }
    }

    private static void higherIsBetter(TaskTree node, ObjectNode better) {
        ObjectNode own = better.putObject(node.name());
        for (EvalTask task : TaskTree.tasks(List.of(node))) {
            for (MetricConfig metric : task.metrics()) {
                Boolean higher = metric.higherIsBetter();
                Metric.Kind kind = Metric.Kind.of(metric.name());
                if (higher == null && kind != null) {
                    higher = kind.higherIsBetter;
                }
                boolean differs = own.has(metric.name())
                        && higher != null
                        && own.get(metric.name()).asBoolean() != higher;
                if (higher == null || differs) {
                    own.putNull(metric.name());
                } else {
                    own.put(metric.name(), higher);
                }
            }
        }
        if (node instanceof TaskTree.Group group) {
            group.members().forEach(member -> higherIsBetter(member, better));
        }
    }

    /** The printed tables: of all tasks, and of the groups if there are any. */
    String tables() {
        String tables = table("Tasks", results);
        return groups.isEmpty() ? tables : tables + "\n" + table("Groups", groups);
    }

    private String table(String title, ObjectNode of) {
        List<List<String>> rows = new ArrayList<>();
        of.properties().forEach(entry -> {
            Map<String, JsonNode> sorted = new TreeMap<>();
            entry.getValue().properties().forEach(field -> sorted.put(field.getKey(), field.getValue()));
            String name = entry.getValue().path("alias").asText();
            String version = version(root.path("versions").path(entry.getKey()));
            String shots = root.path("n-shot").path(entry.getKey()).asText(" ");
            List<String> keys = sorted.keySet().stream()
                    .filter(key -> key.contains(",") && !key.contains("_stderr,"))
                    .toList();
            for (String key : keys) {
                String metric = key.substring(0, key.indexOf(','));
                String filter = key.substring(key.indexOf(',') + 1);
                JsonNode error = sorted.get(metric + "_stderr," + filter);
                JsonNode higher =
                        root.path("higher_is_better").path(entry.getKey()).path(metric);
                rows.add(List.of(
                        name,
                        version,
                        filter,
                        shots,
                        metric,
                        higher.isBoolean() ? higher.asBoolean() ? "↑" : "↓" : "",
                        four(sorted.get(key)),
                        "±",
                        error == null || error.isTextual() ? "   N/A" : four(error)));
                name = "";
                version = "";
            }
            if (keys.isEmpty()) {
                rows.add(List.of(name, version, "", shots, "", "", "", "", ""));
            }
        });
        return MarkdownTable.of(
                List.of(title, "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"), rows);
    }

    private static String four(@Nullable JsonNode value) {
        return value == null ? "" : String.format(Locale.ROOT, "%.4f", value.doubleValue());
    }

    private static String version(JsonNode version) {
        return version.isMissingNode()
                ? ""
                : version.isNumber() && version.doubleValue() == Math.rint(version.doubleValue())
                        ? String.valueOf(version.longValue())
                        : version.asText();
    }
}
