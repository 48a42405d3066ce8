package io.nightmill.pipeline;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.Channels;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowFileReader;
import org.apache.arrow.vector.ipc.ArrowFileWriter;
import org.apache.arrow.vector.ipc.ArrowReader;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.util.ByteArrayReadableSeekableByteChannel;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.input.PortableDataStream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.encoders.ExpressionEncoder;
import org.apache.spark.sql.execution.arrow.ArrowWriter;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.ArrowUtils;
import org.apache.spark.sql.vectorized.ArrowColumnVector;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.util.TaskCompletionListener;

/** Tables as Arrow IPC files: read in the file or the stream form, written as one file per task. */
final class ArrowFiles {
    private static final byte[] MAGIC = {'A', 'R', 'R', 'O', 'W', '1'};
    private static final int BATCH_ROWS = 1024;

    private ArrowFiles() {}

    static Dataset<Row> read(SparkSession spark, String input) {
        JavaPairRDD<String, PortableDataStream> files =
                JavaSparkContext.fromSparkContext(spark.sparkContext()).binaryFiles(input);
        List<String> first =
                files.map(file -> schema(file._1(), file._2().toArray())).take(1);
        if (first.isEmpty()) {
            throw new IllegalArgumentException("Cannot read %s: there is no Arrow file".formatted(input));
        }
        StructType schema = (StructType) DataType.fromJson(first.get(0));
        return spark.createDataFrame(
                files.flatMap(file -> new FileRows(file._2().toArray(), schema)), schema);
    }

    /** A file's schema as Spark's JSON. */
    private static String schema(String name, byte[] bytes) {
        try (BufferAllocator allocator = new RootAllocator();
                ArrowReader reader = open(bytes, allocator)) {
            return ArrowUtils.fromArrowSchema(reader.getVectorSchemaRoot().getSchema())
                    .json();
        } catch (IOException e) {
            throw new IllegalArgumentException("Cannot read %s as Arrow: %s".formatted(name, e.getMessage()), e);
        }
    }

    private static ArrowReader open(byte[] bytes, BufferAllocator allocator) {
        boolean isFile = bytes.length > MAGIC.length && Arrays.equals(bytes, 0, MAGIC.length, MAGIC, 0, MAGIC.length);
        return isFile
                ? new ArrowFileReader(new ByteArrayReadableSeekableByteChannel(bytes), allocator)
                : new ArrowStreamReader(new ByteArrayInputStream(bytes), allocator);
    }

    /** The rows of one file, batch by batch. */
    private static final class FileRows implements Iterator<Row> {
        private final ArrowReader reader;
        private final ExpressionEncoder.Deserializer<Row> rows;
        private Iterator<InternalRow> batch = Collections.emptyIterator();

        FileRows(byte[] bytes, StructType schema) {
            this.reader = open(bytes, TaskAllocator.get());
            this.rows = Encoders.deserializer(schema);
            TaskContext.get().addTaskCompletionListener((TaskCompletionListener) context -> close());
        }

        private void close() {
            try {
                reader.close();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        @Override
        public boolean hasNext() {
            try {
                while (!batch.hasNext() && reader.loadNextBatch()) {
                    VectorSchemaRoot root = reader.getVectorSchemaRoot();
                    ColumnVector[] columns = root.getFieldVectors().stream()
                            .map((FieldVector vector) -> new ArrowColumnVector(vector))
                            .toArray(ColumnVector[]::new);
                    batch = new ColumnarBatch(columns, root.getRowCount()).rowIterator();
                }
            } catch (IOException e) {
                throw new UncheckedIOException("Cannot read an Arrow file", e);
            }
            return batch.hasNext();
        }

        @Override
        public Row next() {
            return rows.apply(batch.next());
        }
    }

    /** Files are written beside the table and moved into it when all are complete. */
    static void write(Dataset<Row> results, StructType schema, String folder, String mode) {
        Path output = new Path(folder);
        Path staging = new Path(output, "_temporary-" + UUID.randomUUID());
        try {
            FileSystem files = output.getFileSystem(Tables.hadoop());
            files.mkdirs(staging);
            List<String> written = results.toJavaRDD()
                    .mapPartitions(new WriteTask(staging.toString(), schema))
                    .collect();
            if (mode.equals("overwrite")) {
                for (FileStatus old : files.listStatus(output)) {
                    if (!old.getPath().getName().equals(staging.getName())) {
                        files.delete(old.getPath(), true);
                    }
                }
            }
            for (String file : written) {
                Path from = new Path(staging, file);
                if (!files.rename(from, new Path(output, UUID.randomUUID() + "-" + file))) {
                    throw new IOException("Cannot move " + from + " into " + output);
                }
            }
            files.delete(staging, true);
            files.create(new Path(output, "_SUCCESS"), true).close();
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot write " + output, e);
        }
    }

    /** One partition to one file; returns its name. */
    private record WriteTask(String folder, StructType schema) implements FlatMapFunction<Iterator<Row>, String> {
        @Override
        public Iterator<String> call(Iterator<Row> rows) throws IOException {
            TaskContext task = TaskContext.get();
            String name = "part-%05d-%d.arrow".formatted(task.partitionId(), task.taskAttemptId());
            Path path = new Path(folder, name);
            ExpressionEncoder.Serializer<Row> serializer = Encoders.serializer(schema);
            List<String> names = new ArrayList<>();
            try (BufferAllocator allocator = new RootAllocator();
                    VectorSchemaRoot root =
                            VectorSchemaRoot.create(ArrowUtils.toArrowSchema(schema, "UTC", true, false), allocator);
                    ArrowFileWriter writer = new ArrowFileWriter(
                            root,
                            null,
                            Channels.newChannel(
                                    path.getFileSystem(Tables.hadoop()).create(path, true)),
                            Map.of())) {
                ArrowWriter vectors = ArrowWriter.create(root);
                writer.start();
                int count = 0;
                while (rows.hasNext()) {
                    vectors.write(serializer.apply(rows.next()));
                    if (++count == BATCH_ROWS || !rows.hasNext()) {
                        vectors.finish();
                        writer.writeBatch();
                        vectors.reset();
                        count = 0;
                    }
                }
                writer.end();
                names.add(name);
            }
            return names.iterator();
        }
    }
}
