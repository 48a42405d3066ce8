package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.commons.text.similarity.LevenshteinDistance;

/**
 * The task files below some folders, by the names that tasks, groups and tags have in them. A file that cannot be read, or a name that
 * two files have, matters only to those who ask for it: the harness has fourteen thousand files.
 */
final class TaskIndex {
    private final EvalTask.Overrides overrides;
    private final Map<String, Path> files = new TreeMap<>();
    private final Map<String, List<String>> tags = new TreeMap<>();
    private final Map<String, ObjectNode> configs = new LinkedHashMap<>();
    private final Map<String, Path> doubles = new TreeMap<>();
    private final List<String> unreadable = new ArrayList<>();

    /** @throws IllegalArgumentException if a folder is not there */
    TaskIndex(List<Path> folders, EvalTask.Overrides overrides) {
        this.overrides = overrides;
        for (Path folder : folders) {
            if (!Files.isDirectory(folder)) {
                throw new IllegalArgumentException("Cannot read --tasks-dir %s: it is no folder".formatted(folder));
            }
            try (Stream<Path> all = Files.walk(folder)) {
                all.filter(file -> file.getFileName().toString().endsWith(".yaml"))
                        .sorted()
                        .forEach(this::add);
            } catch (IOException e) {
                throw new UncheckedIOException("Cannot read --tasks-dir " + folder, e);
            }
        }
    }

    private void add(Path file) {
        ObjectNode config;
        try {
            config = TaskYaml.read(file);
        } catch (IllegalArgumentException e) {
            unreadable.add(e.getMessage());
            return;
        }
        JsonNode task = config.path("task");
        String name = task.isTextual() ? task.asText() : config.path("group").asText("");
        if (name.isEmpty()) {
            return;
        }
        if (files.putIfAbsent(name, file) != null) {
            doubles.put(name, file);
            return;
        }
        configs.put(name, config);
        if (task.isTextual()) {
            JsonNode tag = config.path("tag");
            (tag.isArray() ? tag : List.of(tag)).forEach(one -> {
                if (one.isTextual()) {
                    tags.computeIfAbsent(one.asText(), key -> new ArrayList<>()).add(name);
                }
            });
        }
    }

    /**
     * @param names tasks, groups, tags, patterns such as {@code mmlu_*}, or files
     * @throws IllegalArgumentException naming what is not known, and what there is
     */
    List<TaskTree> resolve(List<String> names) {
        Map<String, TaskTree> roots = new LinkedHashMap<>();
        for (String name : names) {
            for (TaskTree node : nodes(name, "--tasks")) {
                roots.putIfAbsent(node.name(), node);
            }
        }
        return sorted(new ArrayList<>(roots.values()));
    }

    private static List<TaskTree> sorted(List<TaskTree> nodes) {
        nodes.sort(Comparator.comparing(TaskTree::name));
        return nodes;
    }

    private List<TaskTree> nodes(String name, String who) {
        if (name.endsWith(".yaml") && Files.isRegularFile(Path.of(name))) {
            return List.of(node(TaskYaml.read(Path.of(name))));
        }
        if (configs.containsKey(name)) {
            return List.of(known(name));
        }
        if (tags.containsKey(name)) {
            return tags.get(name).stream().map(this::known).toList();
        }
        if (name.contains("*") || name.contains("?")) {
            Pattern pattern = Pattern.compile(
                    ("\\Q" + name + "\\E").replace("*", "\\E.*\\Q").replace("?", "\\E.\\Q"));
            List<TaskTree> found = configs.keySet().stream()
                    .filter(known -> pattern.matcher(known).matches())
                    .map(this::known)
                    .toList();
            if (!found.isEmpty()) {
                return found;
            }
        }
        Set<String> known = new TreeSet<>(configs.keySet());
        known.addAll(tags.keySet());
        List<String> nearest = known.stream()
                .sorted(Comparator.comparingInt(
                        other -> LevenshteinDistance.getDefaultInstance().apply(name, other)))
                .limit(3)
                .toList();
        throw new IllegalArgumentException(
                "Cannot find the task '%s' of %s: of %d tasks, groups and tags, the nearest are %s%s"
                        .formatted(
                                name,
                                who,
                                known.size(),
                                nearest,
                                unreadable.isEmpty() ? "" : "; not read: " + String.join("; ", unreadable)));
    }

    /** @throws IllegalArgumentException if two files have the name */
    private TaskTree known(String name) {
        if (doubles.containsKey(name)) {
            throw new IllegalArgumentException("Cannot tell which '%s' is meant: it is in %s and in %s"
                    .formatted(name, files.get(name), doubles.get(name)));
        }
        return node(configs.get(name));
    }

    private TaskTree node(ObjectNode config) {
        return config.path("task").isTextual() ? new TaskTree.Leaf(EvalTask.of(config, overrides)) : group(config);
    }

    private TaskTree.Group group(ObjectNode config) {
        String name = config.path("group").asText();
        List<TaskTree> members = new ArrayList<>();
        for (JsonNode member : config.path("task")) {
            members.addAll(
                    member.isTextual() ? nodes(member.asText(), "group " + name) : inline((ObjectNode) member, name));
        }
        List<TaskTree.Aggregate> metrics = new ArrayList<>();
        for (JsonNode metric : config.path("aggregate_metric_list")) {
            String aggregation = metric.path("aggregation").asText("mean");
            if (!aggregation.equals("mean")) {
                throw new IllegalArgumentException("Cannot use the group %s: it aggregates %s by '%s', expected mean"
                        .formatted(name, metric.path("metric").asText(), aggregation));
            }
            List<String> filters = new ArrayList<>();
            JsonNode given = metric.path("filter_list");
            (given.isArray() ? given : List.of(given)).forEach(filter -> filters.add(filter.asText("none")));
            metrics.add(new TaskTree.Aggregate(
                    metric.path("metric").asText(),
                    filters,
                    metric.path("weight_by_size").asBoolean(true)));
        }
        return new TaskTree.Group(
                name,
                config.path("group_alias").asText(name),
                sorted(members),
                metrics,
                config.path("metadata").path("version"));
    }

    /** A member that is written out in its group: a group, a task, or a known task with other values. */
    private List<TaskTree> inline(ObjectNode member, String group) {
        if (member.has("group")) {
            return List.of(group(member));
        }
        ObjectNode config =
                configs.getOrDefault(member.path("task").asText(), member).deepCopy();
        if (!config.path("task").isTextual()) {
            throw new IllegalArgumentException(
                    "Cannot use the group %s: it has a member without a task: %s".formatted(group, member));
        }
        config.setAll(member);
        return List.of(node(config));
    }
}
