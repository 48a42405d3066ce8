package io.nightmill.pipeline;

import java.io.Serializable;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.spark.HashPartitioner;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.FlatMapFunction2;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import scala.Tuple2;

/**
 * The planner's view of all rows: sorted by their tokens, so that rows that begin alike stand together, and equal ones beside each
 * other; and cut into shards of equal cost by the running sum of estimated tokens. A token that the row before has too costs
 * nothing, nor does a row that equals it.
 */
final class Shards {
    /** A shard is at least this much work, so that small jobs are not all overhead. */
    private static final long LEAST_COST = 2_000;
    /** Tokens that rows are sorted by as they are; behind them, hashes of blocks. */
    private static final int KEY_TOKENS = 1024;

    private static final int BLOCK_TOKENS = 64;

    private static final StructType PLACE = new StructType()
            .add("key", DataTypes.BinaryType, false)
            .add("content", DataTypes.StringType, false)
            .add("length", DataTypes.IntegerType, false)
            .add("output", DataTypes.LongType, false)
            .add("partition", DataTypes.IntegerType, false)
            .add("position", DataTypes.IntegerType, false);

    private final int partitions;
    private final Kept<Place> kept;
    private final JavaRDD<Place> sorted;
    private final ShardCost[] costs;

    /** Looks at all rows once. */
    Shards(SparkSession spark, Plan plan, JavaRDD<ArrowBatch> rows) {
        this.partitions = rows.getNumPartitions();
        this.kept = new Kept<>(
                spark.createDataFrame(rows.mapPartitionsWithIndex(new Places(plan), true), PLACE)
                        .orderBy("key", "content", "partition", "position")
                        .toJavaRDD()
                        .map(row -> new Place(
                                row.getAs(0),
                                row.getString(1),
                                row.getInt(2),
                                row.getLong(3),
                                row.getInt(4),
                                row.getInt(5))),
                Place.class);
        this.sorted = kept.rdd();
        this.costs =
                sorted.mapPartitionsWithIndex(new Measure(), true).collect().toArray(new ShardCost[0]);
    }

    /** Sums over all rows. */
    ShardCost total() {
        return Arrays.stream(costs).reduce(new ShardCost(0, 0, 0, 0, 0, 0, 0), ShardCost::plus);
    }

    /** So many that those which run at once have no more rows than are to be written together. */
    int count(RunConfig config, int parallelism) {
        ShardCost total = total();
        long byCost = (total.cost() + config.shardTokens() - 1) / config.shardTokens();
        long byRows = config.checkpointRows() == 0
                ? 0
                : (total.rows() * parallelism + config.checkpointRows() - 1) / config.checkpointRows();
        long wanted = Math.max(
                Math.max(byCost, Math.min(total.rows(), byRows)), Math.min(parallelism, total.cost() / LEAST_COST));
        return (int) Math.max(1, Math.min(wanted, Math.min(total.rows(), 1_000_000)));
    }

    /** The rows by shard; a shard's rows come in any order. */
    JavaPairRDD<Integer, ArrowBatch> cut(JavaRDD<ArrowBatch> rows, int shards) {
        long[] before = new long[costs.length];
        for (int i = 1; i < before.length; i++) {
            before[i] = before[i - 1] + costs[i - 1].cost();
        }
        JavaRDD<Tuple2<Integer, int[]>> places = sorted.mapPartitionsWithIndex(
                        new Assign(before, total().cost(), shards), true)
                .mapToPair(place -> place)
                .partitionBy(new HashPartitioner(partitions))
                .map(place -> place);
        return rows.zipPartitions(places, new Cut()).mapToPair(piece -> piece).partitionBy(new HashPartitioner(shards));
    }

    /**
     * The shard of a row before which so much of the total cost lies. Three fifths of the shards hold three quarters of the cost, so that
     * the last to run are half as large, and no executor waits long for another.
     */
    static int shard(long before, long total, int shards) {
        double place = (double) before / Math.max(1, total);
        int large = shards < 5 ? shards : shards * 3 / 5;
        double largeCost = large == shards ? 1 : 0.75;
        double shard = place < largeCost
                ? place / largeCost * large
                : large + (place - largeCost) / (1 - largeCost) * (shards - large);
        return (int) Math.min(shards - 1, shard);
    }

    void close() {
        kept.close();
    }

    /** Each row's key and place. */
    private record Places(Plan plan) implements Function2<Integer, Iterator<ArrowBatch>, Iterator<Row>> {
        @Override
        public Iterator<Row> call(Integer partition, Iterator<ArrowBatch> batches) {
            int[] position = {0};
            int contextLength = ModelFiles.text(plan.spec().path()).contextLength();
            return ArrowBatches.read(batches)
                    .flatMap(List::stream)
                    .map(row -> place(row, contextLength, partition, position[0]++))
                    .iterator();
        }

        private Row place(PlannedRow row, int contextLength, int partition, int position) {
            boolean runs = row.failure() == null;
            int[] prompt = row.prompt();
            long output = runs ? row.cost(plan.maxTokens(row, contextLength)) - prompt.length : 1;
            // Only rows that can share an answer have equal contents.
            String content = runs && plan.isDeterministic(row) ? Fingerprint.ofContent(plan, row) : row.fingerprint();
            return RowFactory.create(key(prompt), content, prompt.length, output, partition, position);
        }
    }

    /** Keys of prompts that begin alike begin alike. */
    static byte[] key(int[] prompt) {
        int head = Math.min(KEY_TOKENS, prompt.length);
        int blocks = (prompt.length - head + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
        ByteBuffer key = ByteBuffer.allocate(4 * (head + blocks));
        for (int i = 0; i < head; i++) {
            key.putInt(prompt[i]);
        }
        for (int i = head; i < prompt.length; i += BLOCK_TOKENS) {
            key.putInt(Arrays.hashCode(Arrays.copyOfRange(prompt, i, Math.min(prompt.length, i + BLOCK_TOKENS))));
        }
        return key.array();
    }

    /** Tokens that two prompts begin with alike, by their keys; of what lies behind the first tokens, whole blocks. */
    static int shared(byte[] key, byte[] other, int length) {
        int mismatch = Arrays.mismatch(key, other);
        int equal = (mismatch < 0 ? key.length : mismatch) / 4;
        return Math.min(length, equal <= KEY_TOKENS ? equal : KEY_TOKENS + (equal - KEY_TOKENS) * BLOCK_TOKENS);
    }

    /** The row before, in one partition of the order. */
    private static final class Neighbour implements Serializable {
        private byte[] key = new byte[0];
        private String content = "";

        /** What a row costs after the one before it. */
        ShardCost cost(Place place) {
            int length = place.length();
            boolean twin = content.equals(place.content());
            int shared = twin ? length : shared(key, place.key(), length);
            long cost = twin ? 1 : Math.max(1, length - shared + place.output());
            key = place.key();
            content = place.content();
            return new ShardCost(0, 1, cost, length, shared, twin ? 0 : place.output(), twin ? 1 : 0);
        }
    }

    /** Sums of a partition of the order. */
    private record Measure() implements Function2<Integer, Iterator<Place>, Iterator<ShardCost>> {
        @Override
        public Iterator<ShardCost> call(Integer partition, Iterator<Place> places) {
            Neighbour before = new Neighbour();
            ShardCost sum = new ShardCost(partition, 0, 0, 0, 0, 0, 0);
            while (places.hasNext()) {
                sum = sum.plus(before.cost(places.next()));
            }
            return List.of(sum).iterator();
        }
    }

    /** Each row's partition, and its position and shard. */
    private record Assign(long[] before, long total, int shards)
            implements Function2<Integer, Iterator<Place>, Iterator<Tuple2<Integer, int[]>>> {
        @Override
        public Iterator<Tuple2<Integer, int[]>> call(Integer partition, Iterator<Place> places) {
            Neighbour neighbour = new Neighbour();
            return new Iterator<>() {
                private long running = before[partition];

                @Override
                public boolean hasNext() {
                    return places.hasNext();
                }

                @Override
                public Tuple2<Integer, int[]> next() {
                    Place place = places.next();
                    int shard = shard(running, total, shards);
                    running += neighbour.cost(place).cost();
                    return new Tuple2<>(place.partition(), new int[] {place.position(), shard});
                }
            };
        }
    }

    /** Sends each row of a partition to its shard. */
    private record Cut()
            implements FlatMapFunction2<
                    Iterator<ArrowBatch>, Iterator<Tuple2<Integer, int[]>>, Tuple2<Integer, ArrowBatch>> {
        @Override
        public Iterator<Tuple2<Integer, ArrowBatch>> call(
                Iterator<ArrowBatch> batches, Iterator<Tuple2<Integer, int[]>> places) {
            int[] shardOf = new int[1024];
            while (places.hasNext()) {
                int[] place = places.next()._2();
                if (place[0] >= shardOf.length) {
                    shardOf = Arrays.copyOf(shardOf, Math.max(2 * shardOf.length, place[0] + 1));
                }
                shardOf[place[0]] = place[1];
            }
            return pieces(shardOf, batches);
        }

        private static Iterator<Tuple2<Integer, ArrowBatch>> pieces(int[] shardOf, Iterator<ArrowBatch> batches) {
            int[] position = {0};
            Iterator<Map.Entry<Integer, List<PlannedRow>>> pieces = ArrowBatches.read(batches)
                    .flatMap(rows -> rows.stream()
                            .collect(Collectors.groupingBy(
                                    row -> shardOf[position[0]++], LinkedHashMap::new, Collectors.toList()))
                            .entrySet()
                            .stream())
                    .iterator();
            return ArrowBatches.write(
                    pieces, Map.Entry::getValue, (piece, batch) -> new Tuple2<>(piece.getKey(), batch));
        }
    }
}
