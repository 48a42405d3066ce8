package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/** What was asked for: tasks, and groups of tasks and groups, in the harness's order of printing. */
sealed interface TaskTree {
    String name();

    String alias();

    record Leaf(EvalTask task) implements TaskTree {
        @Override
        public String name() {
            return task.name();
        }

        @Override
        public String alias() {
            return task.alias();
        }
    }

    /** @param metrics the group's {@code aggregate_metric_list} */
    record Group(String name, String alias, List<TaskTree> members, List<Aggregate> metrics, JsonNode version)
            implements TaskTree {}

    /** @param filters names of the filters whose figures are aggregated */
    record Aggregate(String metric, List<String> filters, boolean weightBySize) {}

    /** All tasks below, each once. */
    static List<EvalTask> tasks(List<TaskTree> roots) {
        List<EvalTask> tasks = new ArrayList<>();
        List<String> seen = new ArrayList<>();
        Consumer<TaskTree> visit = node -> {
            if (node instanceof Leaf leaf && !seen.contains(leaf.name())) {
                seen.add(leaf.name());
                tasks.add(leaf.task());
            }
        };
        roots.forEach(root -> walk(root, visit));
        return tasks;
    }

    private static void walk(TaskTree node, Consumer<TaskTree> visit) {
        visit.accept(node);
        if (node instanceof Group group) {
            group.members().forEach(member -> walk(member, visit));
        }
    }
}
