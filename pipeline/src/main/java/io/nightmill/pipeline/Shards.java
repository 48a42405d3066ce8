package io.nightmill.pipeline;

import io.nightmill.runtime.SamplingJson;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.Function2;
import org.jspecify.annotations.Nullable;
import scala.Tuple2;

/** Rows cut into shards of equal cost: in the order of the input, by the running sum of estimated tokens. */
final class Shards {
    /** A shard is at least this much work, so that small jobs are not all overhead. */
    private static final long LEAST_COST = 2_000;

    private Shards() {}

    /** So many that those which run at once have no more rows than are to be written together. */
    static int count(long cost, long rows, RunConfig config, int parallelism) {
        long byCost = (cost + config.shardTokens() - 1) / config.shardTokens();
        long byRows = config.checkpointRows() == 0
                ? 0
                : (rows * parallelism + config.checkpointRows() - 1) / config.checkpointRows();
        long wanted = Math.max(Math.max(byCost, Math.min(rows, byRows)), Math.min(parallelism, cost / LEAST_COST));
        return (int) Math.max(1, Math.min(wanted, 1_000_000));
    }

    /** Sums of a partition. */
    record Measure(int maxTokens) implements Function2<Integer, Iterator<ArrowBatch>, Iterator<ShardCost>> {
        @Override
        public Iterator<ShardCost> call(Integer partition, Iterator<ArrowBatch> batches) {
            long rows = 0;
            long cost = 0;
            while (batches.hasNext()) {
                try (ArrowBatch batch = batches.next()) {
                    for (int i = 0; i < batch.size(); i++) {
                        PlannedRow row = batch.row(i);
                        rows++;
                        cost += row.cost(maxTokens);
                    }
                }
            }
            return List.of(new ShardCost(partition, rows, cost)).iterator();
        }
    }

    /**
     * Sends each row to its shard.
     *
     * @param before cost of all partitions before each one
     */
    record Cut(long[] before, long total, int shards, int maxTokens)
            implements Function2<Integer, Iterator<ArrowBatch>, Iterator<Tuple2<Integer, ArrowBatch>>> {
        @Override
        public Iterator<Tuple2<Integer, ArrowBatch>> call(Integer partition, Iterator<ArrowBatch> batches) {
            return new Pieces(this, before[partition], batches);
        }
    }

    /** Pieces of batches, each of one shard; a piece's buffers are given back when the next is asked for. */
    private static final class Pieces implements Iterator<Tuple2<Integer, ArrowBatch>> {
        private final Cut cut;
        private final Iterator<ArrowBatch> batches;
        private long running;
        private @Nullable ArrowBatch source;
        private int next;
        private @Nullable ArrowBatch last;

        Pieces(Cut cut, long running, Iterator<ArrowBatch> batches) {
            this.cut = cut;
            this.running = running;
            this.batches = batches;
        }

        @Override
        public boolean hasNext() {
            boolean more = source != null && next < source.size() || batches.hasNext();
            if (!more) {
                release();
            }
            return more;
        }

        @Override
        public Tuple2<Integer, ArrowBatch> next() {
            if (last != null) {
                last.close();
                last = null;
            }
            if (source == null || next == source.size()) {
                release();
                source = batches.next();
                next = 0;
            }
            int shard = shard();
            List<PlannedRow> rows = new ArrayList<>();
            while (next < source.size() && shard() == shard) {
                PlannedRow row = source.row(next++);
                running += row.cost(cut.maxTokens);
                rows.add(row);
            }
            last = ArrowBatch.of(rows, TaskAllocator.get());
            return new Tuple2<>(shard, last);
        }

        private int shard() {
            return (int) Math.min(cut.shards - 1, running * cut.shards / Math.max(1, cut.total));
        }

        private void release() {
            if (last != null) {
                last.close();
                last = null;
            }
            if (source != null) {
                source.close();
                source = null;
            }
        }
    }

    /** Tokens that a row may write, by the job's own parameters; a row's own are not looked at. */
    static int maxTokens(Plan plan) {
        return plan.kind() == Plan.Kind.GENERATE
                ? SamplingJson.parse(plan.sampling(), null).maxTokens()
                : 0;
    }
}
