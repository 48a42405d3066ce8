package io.nightmill.pipeline;

import java.io.Serializable;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.rdd.PartitionPruningRDD;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import scala.reflect.ClassTag;
import scala.runtime.AbstractFunction1;

/**
 * Writes results shard by shard group, each group a Spark write of its own with Spark's commit protocol, so that what is done is
 * in the table before all is done. The first group is one shard per core; the next are sized by how long it took.
 */
record Increments(SparkSession spark, RunConfig config, StructType schema, Manifest manifest, RunCounters counters) {

    /** @param mode of the run, {@link RunConfig#mode} without auto */
    void write(JavaRDD<Row> results, int shards, String mode) {
        boolean isFolder = config.hasFolder();
        // Overwriting removes what is there, this with it.
        if (isFolder && !mode.equals("overwrite")) {
            manifest.write();
        }
        int done = 0;
        int size = spark.sparkContext().defaultParallelism();
        while (done < shards) {
            int end = Math.min(shards, done + size);
            long start = System.nanoTime();
            // One group may be all there is, and needs no pruning.
            JavaRDD<Row> group = end - done == shards ? results : pruned(results, done, end);
            boolean appends = isFolder || done > 0 || mode.equals("resume");
            String how = done == 0 && mode.equals("overwrite") ? "overwrite" : appends ? "append" : mode;
            Tables.write(spark.createDataFrame(group, schema), schema, config.output(), config.outputFormat(), how);
            double seconds = (System.nanoTime() - start) / 1e9;
            if (config.checkpointRows() == 0) {
                double perSecond = (end - done) / seconds;
                size = (int) Math.max(size, Math.min(shards, perSecond * config.checkpointSeconds()));
            }
            done = end;
            if (isFolder) {
                manifest.update(counters, done);
            }
        }
        if (isFolder) {
            manifest.complete();
        }
    }

    private static JavaRDD<Row> pruned(JavaRDD<Row> results, int first, int end) {
        ClassTag<Row> tag = results.classTag();
        return JavaRDD.fromRDD(PartitionPruningRDD.create(results.rdd(), new Between(first, end)), tag);
    }

    /** Partitions {@code first .. end}. */
    private static final class Between extends AbstractFunction1<Object, Object> implements Serializable {
        private final int first;
        private final int end;

        Between(int first, int end) {
            this.first = first;
            this.end = end;
        }

        @Override
        public Object apply(Object partition) {
            return (int) partition >= first && (int) partition < end;
        }
    }
}
