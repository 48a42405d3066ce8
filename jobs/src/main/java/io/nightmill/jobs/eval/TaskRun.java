package io.nightmill.jobs.eval;

import java.io.Serializable;
import java.util.List;
import java.util.Map;

/**
 * A task with what its documents need beyond themselves.
 *
 * @param documents that the split has
 * @param effective those of them that are asked
 * @param examples documents that are drawn as examples, by their places in their split
 * @param picks places of each document's examples, in order; one list for all where it is the same
 * @param multipleTargets whether its documents have lists of right answers
 */
record TaskRun(
        EvalTask task,
        long documents,
        long effective,
        Map<Integer, String> examples,
        List<int[]> picks,
        boolean multipleTargets)
        implements Serializable {

    int[] picks(long doc) {
        return picks.get(picks.size() == 1 ? 0 : (int) doc);
    }
}
