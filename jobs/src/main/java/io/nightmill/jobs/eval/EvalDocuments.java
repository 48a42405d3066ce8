package io.nightmill.jobs.eval;

import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.struct;
import static org.apache.spark.sql.functions.to_json;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.pipeline.Tables;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.jspecify.annotations.Nullable;

/**
 * Splits of datasets as JSON documents in their order. A dataset lies under the data folder by its Hugging Face name, or the last
 * part of it, in the layouts that the Hub, {@code save_to_disk} and plain files have; {@code dataset_path} json, csv, parquet, arrow
 * or table takes {@code dataset_kwargs.data_files} instead.
 */
final class EvalDocuments {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final List<String> BUILDERS = List.of("json", "csv", "parquet", "arrow", "table", "orc");
    private static final String EXTENSIONS = "\\.(jsonl|json|parquet|csv|arrow|orc)(\\.gz|\\.zst|\\.bz2)?";
    /** What the Hub's files call a split. */
    private static final Map<String, String> SYNONYMS = Map.of(
            "train", "train|training",
            "validation", "validation|valid|dev|val",
            "test", "test|testing|eval|evaluation");

    private final SparkSession spark;
    private final String dataDir;

    EvalDocuments(SparkSession spark, String dataDir) {
        this.spark = spark;
        this.dataDir = dataDir;
    }

    /**
     * @return JSON objects, every one with the same names in the same order
     * @throws IllegalArgumentException saying where the split was looked for
     */
    JavaRDD<String> read(EvalTask task, String split) {
        try {
            EvalTask.Dataset dataset = task.dataset();
            if (BUILDERS.contains(dataset.path())) {
                return union(
                        given(task, split),
                        dataset.path(),
                        dataset.kwargs().path("field").asText(""));
            }
            List<String> files = files(dataset, split);
            return union(files, null, dataset.kwargs().path("field").asText(""));
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot look for the dataset of " + task.name(), e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    "Cannot read the split '%s' of the task %s: %s".formatted(split, task.name(), e.getMessage()), e);
        }
    }

    /** Files that the task itself names, as Hugging Face's own builders take them. */
    private List<String> given(EvalTask task, String split) {
        JsonNode files = task.dataset().kwargs().path("data_files");
        JsonNode mine = files.isObject() ? files.path(split) : files;
        List<String> found = new ArrayList<>();
        (mine.isArray() ? mine : List.of(mine)).forEach(file -> {
            if (!file.isTextual()) {
                throw new IllegalArgumentException(
                        "dataset_kwargs.data_files is %s, which has no such split".formatted(files));
            }
            found.add(
                    task.dataset().path().equals("table")
                            ? file.asText()
                            : new Path(new Path(dataDir), file.asText()).toString());
        });
        return found;
    }

    private FileSystem fileSystem(Path path) throws IOException {
        return path.getFileSystem(spark.sessionState().newHadoopConf());
    }

    private List<String> files(EvalTask.Dataset dataset, String split) throws IOException {
        String path = dataset.path();
        List<Path> homes = new ArrayList<>();
        for (String name : List.of(
                path, path.replace("/", "___"), path.replace("/", "--"), path.substring(path.lastIndexOf('/') + 1))) {
            Path home = new Path(new Path(dataDir), name);
            if (!homes.contains(home) && fileSystem(home).exists(home)) {
                homes.add(home);
            }
        }
        if (homes.isEmpty()) {
            throw new IllegalArgumentException(
                    "there is no folder %s below --data-dir %s. Put the dataset there, with files such as %s.parquet or %s.jsonl;"
                                    .formatted(path, dataDir, split, split)
                            + " from the Hub: hf download --repo-type dataset %s --local-dir %s/%s"
                                    .formatted(path, dataDir, path));
        }
        List<String> looked = new ArrayList<>();
        for (Path home : homes) {
            List<Path> folders = new ArrayList<>();
            if (dataset.name() != null) {
                folders.add(new Path(home, dataset.name()));
            }
            folders.add(home);
            for (Path folder : folders) {
                List<String> found = inFolder(folder, dataset.name(), split);
                if (!found.isEmpty()) {
                    return found;
                }
                looked.add(folder.toString());
            }
        }
        throw new IllegalArgumentException("no file or folder of that split is in %s".formatted(looked));
    }

    /** The split's files in one folder, in its {@code data}, or in a folder of the split's own; else the one file of the subset. */
    private List<String> inFolder(Path folder, @Nullable String subset, String split) throws IOException {
        String names = SYNONYMS.getOrDefault(split, Pattern.quote(split));
        String of = subset == null ? "" : "(" + Pattern.quote(subset) + "[-_.])?";
        Pattern file = Pattern.compile("%s(%s)([-_.].*)?%s".formatted(of, names, EXTENSIONS));
        for (Path place : List.of(folder, new Path(folder, "data"))) {
            List<String> found = matching(place, file);
            if (!found.isEmpty()) {
                return found;
            }
        }
        for (String name : names.replace("\\Q", "").replace("\\E", "").split("\\|")) {
            List<String> found = matching(new Path(folder, name), Pattern.compile(".*" + EXTENSIONS));
            if (!found.isEmpty()) {
                return found;
            }
        }
        return subset == null ? List.of() : matching(folder, Pattern.compile(Pattern.quote(subset) + EXTENSIONS));
    }

    private List<String> matching(Path folder, Pattern name) throws IOException {
        FileSystem files = fileSystem(folder);
        if (!files.exists(folder) || !files.getFileStatus(folder).isDirectory()) {
            return List.of();
        }
        return Arrays.stream(files.listStatus(folder))
                .map(FileStatus::getPath)
                .filter(path -> name.matcher(path.getName()).matches()
                        && !path.getName().equals("dataset_info.json")
                        && !path.getName().equals("state.json"))
                .map(Path::toString)
                .sorted()
                .toList();
    }

    /** One file after the other: Spark alone would put the largest first. */
    private JavaRDD<String> union(List<String> files, @Nullable String format, String field) throws IOException {
        JavaRDD<String> all = null;
        for (String file : files) {
            JavaRDD<String> documents = documents(file, format, field);
            all = all == null ? documents : all.union(documents);
        }
        return sameKeys(all);
    }

    private JavaRDD<String> documents(String file, @Nullable String format, String field) throws IOException {
        String name = new Path(file).getName();
        boolean isJson = "json".equals(format) || format == null && name.matches(".*\\.(jsonl|json)(\\..*)?");
        if (!isJson) {
            Dataset<Row> rows = Tables.read(spark, file, format);
            Column[] columns = Arrays.stream(rows.columns())
                    .map(column -> col("`" + column.replace("`", "``") + "`"))
                    .toArray(Column[]::new);
            return rows.select(to_json(struct(columns), Map.of("ignoreNullFields", "false")))
                    .toJavaRDD()
                    .map(row -> row.getString(0));
        }
        if (name.contains(".json") && !name.contains(".jsonl")) {
            List<String> whole = whole(new Path(file), field);
            if (!whole.isEmpty()) {
                return new JavaSparkContext(spark.sparkContext()).parallelize(whole, 1);
            }
        }
        return spark.read().textFile(file).toJavaRDD().filter(line -> !line.isBlank());
    }

    /** The documents of a file that is one JSON value: a list, or an object with a list in one field. Else none. */
    private List<String> whole(Path file, String field) throws IOException {
        JsonNode content;
        try (InputStream in = fileSystem(file).open(file)) {
            content = JSON.readTree(new String(in.readAllBytes(), StandardCharsets.UTF_8));
        } catch (JsonProcessingException e) {
            // A file of lines goes on behind its first.
            return List.of();
        }
        if (content.isObject()) {
            List<JsonNode> lists = new ArrayList<>();
            content.properties().forEach(entry -> {
                boolean wanted = field.isEmpty() || field.equals(entry.getKey());
                if (wanted
                        && entry.getValue().isArray()
                        && entry.getValue().path(0).isObject()) {
                    lists.add(entry.getValue());
                }
            });
            content = lists.size() == 1 ? lists.get(0) : JSON.createArrayNode();
        }
        List<String> documents = new ArrayList<>();
        content.forEach(document -> documents.add(document.toString()));
        return documents;
    }

    /** As a table has them: every document gets all names, in the order of their first appearance. */
    private static JavaRDD<String> sameKeys(JavaRDD<String> documents) {
        Set<String> keys = new LinkedHashSet<>();
        List<String> perPartition = documents
                .mapPartitions(part -> {
                    Set<String> mine = new LinkedHashSet<>();
                    part.forEachRemaining(text -> object(text).fieldNames().forEachRemaining(mine::add));
                    return List.of(JSON.writeValueAsString(mine)).iterator();
                })
                .collect();
        for (String names : perPartition) {
            array(names).forEach(name -> keys.add(name.asText()));
        }
        List<String> order = new ArrayList<>(keys);
        return documents.map(text -> {
            ObjectNode document = object(text);
            ObjectNode ordered = JSON.createObjectNode();
            order.forEach(key -> ordered.set(key, document.has(key) ? document.get(key) : ordered.nullNode()));
            return ordered.toString();
        });
    }

    static ObjectNode object(String json) {
        try {
            if (JSON.readTree(json) instanceof ObjectNode object) {
                return object;
            }
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("a document is no JSON: " + e.getOriginalMessage(), e);
        }
        throw new IllegalArgumentException(
                "a document is no JSON object: " + json.substring(0, Math.min(80, json.length())));
    }

    private static ArrayNode array(String json) {
        try {
            return (ArrayNode) JSON.readTree(json);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }
}
