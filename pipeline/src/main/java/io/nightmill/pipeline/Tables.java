package io.nightmill.pipeline;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.deploy.SparkHadoopUtil;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/** Tables in and out: whatever Spark reads and writes, by extension or by name, and Arrow files. */
public final class Tables {
    private static final Set<String> JSON = Set.of("jsonl", "json", "ndjson");
    private static final Set<String> CHAT = Set.of("messages", "tools", "chat_template_kwargs");
    private static final Set<String> FILE_FORMATS =
            Set.of("jsonl", "json", "ndjson", "csv", "parquet", "orc", "arrow", "text", "avro");

    private static volatile @Nullable Hadoop hadoop;

    private Tables() {}

    /** @param format a Spark format, {@code jsonl}, {@code arrow} or {@code table}; null is by the extension */
    public static Dataset<Row> read(SparkSession spark, String input, @Nullable String format) {
        String chosen = formatOf(input, format);
        return switch (chosen) {
            case "jsonl", "json", "ndjson" -> spark.read().json(input);
            case "csv" -> spark.read()
                    .option("header", "true")
                    .option("inferSchema", "true")
                    .option("escape", "\"")
                    .option("multiLine", "true")
                    .csv(input);
            case "arrow" -> ArrowFiles.read(spark, input);
            case "table" -> spark.table(input);
            default -> spark.read().format(chosen).load(input);
        };
    }

    /**
     * Prompts: as {@link #read}, but what chats hold stays JSON text where it is read from JSON and not carried through. As structs, all rows
     * would have all rows' keys, and none its own order or nulls.
     */
    static Dataset<Row> prompts(SparkSession spark, String input, @Nullable String format, List<String> keep) {
        Dataset<Row> rows = read(spark, input, format);
        if (!JSON.contains(formatOf(input, format))) {
            return rows;
        }
        StructType plain = new StructType();
        for (StructField field : rows.schema().fields()) {
            boolean text = CHAT.contains(field.name()) && !keep.contains(field.name());
            plain = plain.add(field.name(), text ? DataTypes.StringType : field.dataType());
        }
        return plain.equals(rows.schema()) ? rows : spark.read().schema(plain).json(input);
    }

    private static String formatOf(String input, @Nullable String format) {
        if (format != null) {
            return format;
        }
        String name = new Path(input).getName().toLowerCase(Locale.ROOT);
        String plain = name.replaceAll("\\.(gz|zst|bz2|lz4|snappy)$", "");
        String extension = plain.substring(plain.lastIndexOf('.') + 1);
        return switch (extension) {
            case "jsonl", "json", "ndjson" -> "jsonl";
            case "parquet", "csv", "orc", "arrow" -> extension;
            default -> throw new IllegalArgumentException(
                    "Cannot tell the format of '%s' by its extension: give --input-format jsonl, parquet, csv, orc,"
                                    .formatted(input)
                            + " arrow, table, or any format that this Spark has");
        };
    }

    /** @param mode of Spark's writers */
    static void write(Dataset<Row> results, StructType schema, String output, String format, String mode) {
        switch (format) {
            case "arrow" -> ArrowFiles.write(results, schema, output, mode);
            case "table" -> results.write().mode(mode).saveAsTable(output);
            case "jsonl" -> results.write()
                    .mode(mode)
                    .option("ignoreNullFields", "false")
                    .json(output);
            default -> results.write().mode(mode).format(format).save(output);
        }
    }

    /** The rows of an output that {@link #write} has written. */
    static Dataset<Row> results(SparkSession spark, String output, String format, StructType schema) {
        return switch (format) {
            case "table" -> spark.table(output);
            case "delta" -> spark.read().format(format).load(output);
            default -> spark.read()
                    .schema(schema)
                    .format(format.equals("jsonl") ? "json" : format)
                    .load(output);
        };
    }

    /** The output's name in SQL. */
    static String sqlName(RunConfig config) {
        return config.hasFolder() ? "%s.`%s`".formatted(config.outputFormat(), config.output()) : config.output();
    }

    /** What {@code auto} means for an output. */
    static String mode(RunConfig config) {
        if (!config.mode().equals("auto")) {
            return config.mode();
        }
        boolean begun = config.hasFolder() ? Manifest.exists(config.output()) : isResultTable(config.output());
        return config.isResumable() && begun ? "resume" : "errorifexists";
    }

    /** Whether a table of the session's is one that a run has written. */
    private static boolean isResultTable(String name) {
        SparkSession spark = SparkSession.active();
        return spark.catalog().tableExists(name)
                && List.of(spark.table(name).columns()).containsAll(List.of("id", "status", "fingerprint"));
    }

    /** @throws IllegalArgumentException if there is no file at the input; what is no file, Spark itself looks for */
    static void requireReadable(RunConfig config) {
        if (config.input() == null) {
            return;
        }
        String format = formatOf(config.input(), config.inputFormat());
        if (!FILE_FORMATS.contains(format)) {
            return;
        }
        Path path = new Path(config.input());
        try {
            FileStatus[] found = path.getFileSystem(hadoop()).globStatus(path);
            if (found == null || found.length == 0) {
                throw new IllegalArgumentException(
                        "Cannot read --input %s: there is no such file or folder".formatted(config.input()));
            }
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot look at " + config.input(), e);
        }
    }

    /** @throws IllegalArgumentException if something is at the output and the mode does not say what to do with it */
    static void requireWritable(RunConfig config) {
        if (!config.hasFolder()) {
            // Only a session knows its tables.
            return;
        }
        String mode = mode(config);
        if (mode.equals("resume") && !Manifest.exists(config.output())) {
            throw new IllegalArgumentException("Cannot resume %s: no run has written to it".formatted(config.output()));
        }
        if (!mode.equals("errorifexists")) {
            return;
        }
        Path path = new Path(config.output());
        try {
            FileSystem files = path.getFileSystem(hadoop());
            if (files.exists(path) && (files.getFileStatus(path).isFile() || files.listStatus(path).length > 0)) {
                throw new IllegalArgumentException(
                        "Cannot write to %s: it exists. Give --mode overwrite or --mode append, or another --output"
                                .formatted(config.output()));
            }
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot look at " + config.output(), e);
        }
    }

    /** Hadoop's settings, with the user's {@code spark.hadoop.*}: the session's where there is one, on its executors too. */
    static Configuration hadoop() {
        SparkEnv env = SparkEnv.get();
        if (env == null) {
            return SparkHadoopUtil.get().newConfiguration(new SparkConf());
        }
        Hadoop known = hadoop;
        if (known == null || known.env != env) {
            // Read from files, which takes longer than most of what they are asked for.
            known = new Hadoop(env, SparkHadoopUtil.get().newConfiguration(env.conf()));
            hadoop = known;
        }
        return known.settings;
    }

    private record Hadoop(SparkEnv env, Configuration settings) {}

    /** Writes a small file beside the table's own; its folder's name keeps Spark from reading it as data. */
    static void writeReport(String output, String name, String content) {
        Path path = new Path(new Path(output, "_nightmill"), name);
        try (OutputStream out = path.getFileSystem(hadoop()).create(path, true)) {
            out.write(content.getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot write " + path, e);
        }
    }
}
