package io.nightmill.pipeline;

import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.util.AccumulatorV2;

/** How many attempts each finished shard has taken. */
final class ShardAttempts extends AccumulatorV2<Map<Integer, Integer>, Map<Integer, Integer>> {
    private final TreeMap<Integer, Integer> attempts = new TreeMap<>();

    @Override
    public boolean isZero() {
        return attempts.isEmpty();
    }

    @Override
    public ShardAttempts copy() {
        ShardAttempts copy = new ShardAttempts();
        copy.add(attempts);
        return copy;
    }

    @Override
    public void reset() {
        attempts.clear();
    }

    @Override
    public void add(Map<Integer, Integer> more) {
        more.forEach((shard, count) -> attempts.merge(shard, count, Math::max));
    }

    @Override
    public void merge(AccumulatorV2<Map<Integer, Integer>, Map<Integer, Integer>> other) {
        add(other.value());
    }

    @Override
    public Map<Integer, Integer> value() {
        return attempts;
    }
}
