package io.nightmill.pipeline;

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.count;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.row_number;
import static org.apache.spark.sql.functions.sum;

import java.io.Serializable;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.expressions.Window;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import scala.Tuple2;

/**
 * What an output holds already of a plan, by fingerprints. Rows that are there and in order stay; those that failed, changed or
 * left the input are taken out; what is missing is pending. Equal rows are counted: two in the input are two in the output.
 */
final class Resume {
    private static final StructType KEY = new StructType()
            .add("fingerprint", DataTypes.StringType, false)
            .add("partition", DataTypes.IntegerType, false)
            .add("position", DataTypes.IntegerType, false);

    private final SparkSession spark;
    private final RunConfig config;
    private final StructType schema;
    private final Dataset<Row> rows;
    private final Dataset<Row> planned;
    private final Dataset<Row> finished;

    /** @param tokenized all rows of the plan */
    Resume(SparkSession spark, RunConfig config, StructType schema, JavaRDD<ArrowBatch> tokenized) {
        this.config = config;
        this.schema = schema;
        this.spark = spark;
        this.rows = Tables.results(spark, config.output(), config.outputFormat(), schema)
                .withColumn("file", config.isFiles() ? col("_metadata.file_path") : lit(""));
        this.planned = spark.createDataFrame(tokenized.mapPartitionsWithIndex(new Keys(), true), KEY)
                .withColumn(
                        "n", row_number().over(Window.partitionBy("fingerprint").orderBy("partition", "position")));
        Dataset<Row> staying = rows.where(col("status").equalTo("ok")).select("fingerprint", "file");
        if (!config.isFiles()) {
            staying = staying.join(stale(), new String[] {"fingerprint"}, "left_anti");
        }
        this.finished = staying.withColumn(
                "n", row_number().over(Window.partitionBy("fingerprint").orderBy("file")));
    }

    long planned() {
        return planned.count();
    }

    /** A bit for each row of each partition that is still to be computed. */
    Pending pending() {
        Dataset<Row> missing =
                planned.join(finished.select("fingerprint", "n"), new String[] {"fingerprint", "n"}, "left_anti");
        Map<Integer, long[]> bits = new HashMap<>(missing.select("partition", "position")
                .toJavaRDD()
                .mapToPair(row -> new Tuple2<>(row.getInt(0), row.getInt(1)))
                .aggregateByKey(new long[0], Resume::with, Resume::or)
                .collectAsMap());
        return new Pending(bits);
    }

    private static long[] with(long[] words, int position) {
        BitSet bits = BitSet.valueOf(words);
        bits.set(position);
        return bits.toLongArray();
    }

    private static long[] or(long[] a, long[] b) {
        BitSet bits = BitSet.valueOf(a);
        bits.or(BitSet.valueOf(b));
        return bits.toLongArray();
    }

    /** Takes out of the output what is not of the plan. */
    void removeStale() {
        if (config.isFiles()) {
            rewriteFiles();
        } else {
            deleteRows();
        }
    }

    /**
     * By the table's own transaction: rows that failed, that are not planned, and all of those that are there more often than they
     * are planned.
     */
    private void deleteRows() {
        Dataset<Row> stale = stale();
        if (stale.isEmpty()) {
            return;
        }
        stale.createOrReplaceTempView("nightmill_stale");
        spark.sql("MERGE INTO %s t USING nightmill_stale s ON t.fingerprint = s.fingerprint WHEN MATCHED THEN DELETE"
                .formatted(Tables.sqlName(config)));
        spark.catalog().dropTempView("nightmill_stale");
    }

    /** Fingerprints that a table that deletes by them is to lose. */
    private Dataset<Row> stale() {
        Dataset<Row> wanted = planned.groupBy("fingerprint").agg(count(lit(1)).as("wanted"));
        return rows.groupBy("fingerprint")
                .agg(
                        count(lit(1)).as("there"),
                        sum(col("status").notEqual("ok").cast("int")).as("failed"))
                .join(wanted, new String[] {"fingerprint"}, "left_outer")
                .where(col("wanted")
                        .isNull()
                        .or(col("failed").gt(0))
                        .or(col("there").gt(col("wanted"))))
                .select("fingerprint")
                .localCheckpoint();
    }

    private void rewriteFiles() {
        Dataset<Row> kept = finished.join(
                        planned.select("fingerprint", "n"), new String[] {"fingerprint", "n"}, "left_semi")
                .groupBy("fingerprint", "file")
                .agg(count(lit(1)).as("copies"));
        Dataset<Row> all = rows.groupBy("file").agg(count(lit(1)).as("all"));
        Dataset<Row> staying = kept.groupBy("file").agg(sum("copies").as("staying"));
        List<Row> affected = all.join(staying, new String[] {"file"}, "left_outer")
                .where(col("staying").isNull().or(col("staying").lt(col("all"))))
                .select("file", "staying")
                .collectAsList();
        if (affected.isEmpty()) {
            return;
        }
        List<String> files = affected.stream().map(row -> row.getString(0)).toList();
        FileSwap swap = new FileSwap(config.output());
        if (affected.stream().anyMatch(row -> !row.isNullAt(1))) {
            Dataset<Row> mine = rows.where(col("file").isin(files.toArray()))
                    .where(col("status").equalTo("ok"))
                    .withColumn(
                            "copy",
                            row_number()
                                    .over(Window.partitionBy("fingerprint", "file")
                                            .orderBy("id")));
            Dataset<Row> rest = mine.join(kept, new String[] {"fingerprint", "file"})
                    .where(col("copy").leq(col("copies")))
                    .select(Arrays.stream(schema.fieldNames())
                            .map(name -> col("`" + name.replace("`", "``") + "`"))
                            .toArray(org.apache.spark.sql.Column[]::new));
            Tables.write(rest, schema, swap.folder().toString(), config.outputFormat(), "overwrite");
        }
        swap.commit(files);
    }

    /** Each row's fingerprint and place. */
    private record Keys() implements Function2<Integer, Iterator<ArrowBatch>, Iterator<Row>> {
        @Override
        public Iterator<Row> call(Integer partition, Iterator<ArrowBatch> batches) {
            int[] position = {0};
            return ArrowBatches.read(batches)
                    .flatMap(List::stream)
                    .map(row -> RowFactory.create(row.fingerprint(), partition, position[0]++))
                    .iterator();
        }
    }

    /**
     * Leaves the rows that are to be computed.
     *
     * @param bits by partition
     */
    record Pending(Map<Integer, long[]> bits)
            implements Function2<Integer, Iterator<ArrowBatch>, Iterator<ArrowBatch>>, Serializable {
        @Override
        public Iterator<ArrowBatch> call(Integer partition, Iterator<ArrowBatch> batches) {
            BitSet mine = BitSet.valueOf(bits.getOrDefault(partition, new long[0]));
            int[] position = {0};
            Iterator<List<PlannedRow>> left = ArrowBatches.read(batches)
                    .map(rows ->
                            rows.stream().filter(row -> mine.get(position[0]++)).toList())
                    .iterator();
            return ArrowBatches.write(left, rows -> rows, (rows, batch) -> batch);
        }
    }
}
