package io.nightmill.pipeline;

import java.io.Serializable;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.util.AccumulatorV2;

/** What each finished shard took. */
final class ShardRuns extends AccumulatorV2<Map<Integer, ShardRuns.Run>, Map<Integer, ShardRuns.Run>> {
    /**
     * @param attempts with the one that finished
     * @param tokens of prompts, and written or scored
     */
    record Run(int attempts, String executor, long rows, long tokens, long millis) implements Serializable {}

    private final TreeMap<Integer, Run> runs = new TreeMap<>();

    @Override
    public synchronized boolean isZero() {
        return runs.isEmpty();
    }

    @Override
    public ShardRuns copy() {
        ShardRuns copy = new ShardRuns();
        copy.add(value());
        return copy;
    }

    @Override
    public synchronized void reset() {
        runs.clear();
    }

    /** Of two runs of a shard, the later attempt stays. */
    @Override
    public synchronized void add(Map<Integer, Run> more) {
        more.forEach((shard, run) -> runs.merge(shard, run, (a, b) -> b.attempts() >= a.attempts() ? b : a));
    }

    @Override
    public void merge(AccumulatorV2<Map<Integer, Run>, Map<Integer, Run>> other) {
        add(other.value());
    }

    /** A copy: Spark's UI looks at it from another thread. */
    @Override
    public synchronized Map<Integer, Run> value() {
        return new TreeMap<>(runs);
    }
}
