package io.nightmill.pipeline;

import java.util.Arrays;
import org.apache.spark.util.AccumulatorV2;

/** Counts in rows, such as choices of each layer's experts, summed over all executors. */
final class TableSum extends AccumulatorV2<long[][], long[][]> {
    private long[][] counts = new long[0][];

    @Override
    public boolean isZero() {
        return Arrays.stream(counts).flatMapToLong(Arrays::stream).allMatch(count -> count == 0);
    }

    @Override
    public TableSum copy() {
        TableSum copy = new TableSum();
        copy.add(counts);
        return copy;
    }

    @Override
    public void reset() {
        counts = new long[0][];
    }

    @Override
    public void add(long[][] more) {
        long[][] sum = Arrays.copyOf(counts, Math.max(counts.length, more.length));
        for (int layer = 0; layer < more.length; layer++) {
            long[] merged = sum[layer] == null ? new long[more[layer].length] : sum[layer].clone();
            for (int e = 0; e < merged.length; e++) {
                merged[e] += more[layer][e];
            }
            sum[layer] = merged;
        }
        counts = sum;
    }

    @Override
    public void merge(AccumulatorV2<long[][], long[][]> other) {
        add(other.value());
    }

    @Override
    public long[][] value() {
        return counts;
    }
}
