package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Results in Delta and Iceberg tables, through their own connectors as a user's Spark has them, and resumed there. */
class LakeIT {
    private static final Path MODEL = Jobs.SHARED.resolve("real/stories260K.gguf");

    @TempDir
    Path temp;

    private final Map<String, String> settings = new TreeMap<>();

    private void set(String name, String value) {
        settings.put(name, value);
        System.setProperty(name, value);
    }

    @AfterEach
    void reset() {
        settings.keySet().forEach(System::clearProperty);
    }

    private Path input(int edited) throws IOException {
        List<ObjectNode> rows = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            String prompt = (i < edited ? "Another time " : "Once upon a time ") + i;
            rows.add(Jobs.row().put("id", "row-" + i).put("prompt", prompt));
        }
        rows.add(Jobs.row().put("id", "bad").putNull("prompt"));
        return Jobs.jsonl(temp.resolve("in.jsonl"), rows);
    }

    /** Rows by id: each is there once. */
    private Map<String, String> rows(String format, String output) throws IOException {
        try (SparkSession spark = session()) {
            Dataset<Row> table = format.equals("table")
                    ? spark.table(output)
                    : spark.read().format(format).load(output);
            Map<String, String> rows = new TreeMap<>();
            table.selectExpr("id", "status", "to_json(outputs) as outputs")
                    .collectAsList()
                    .forEach(row -> assertThat(rows.put(row.getString(0), row.getString(1) + " " + row.getString(2)))
                            .isNull());
            return rows;
        }
    }

    private static SparkSession session() {
        return SparkSession.builder().master("local[2]").getOrCreate();
    }

    private static String[] args(Path input, String format, String output) {
        return Jobs.args(
                        "generate",
                        MODEL,
                        input,
                        Path.of(output),
                        "--output-format",
                        format,
                        "--max-tokens",
                        "5",
                        "--kv-memory",
                        "64m",
                        "--checkpoint-interval",
                        "5")
                .toArray(new String[0]);
    }

    private void computesOnlyWhatIsMissing(String format, String output) throws IOException {
        Jobs.run(args(input(0), format, output));
        Map<String, String> first = rows(format, output);
        assertThat(first).hasSize(21);
        assertThat(first.get("bad")).startsWith("error");
        // Three rows change, one has failed: the others stay as they are.
        String[] again = args(input(3), format, output);
        Jobs.run(again);
        Map<String, String> second = rows(format, output);
        assertThat(second).hasSize(21);
        int changed = 0;
        for (String id : second.keySet()) {
            changed += second.get(id).equals(first.get(id)) ? 0 : 1;
        }
        assertThat(changed).isEqualTo(3);
        String said = Jobs.said(again);
        assertThat(said).contains("20 were there already");
        assertThat(rows(format, output)).isEqualTo(second);
    }

    @Test
    void delta() throws IOException {
        set("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension");
        set("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog");
        computesOnlyWhatIsMissing("delta", temp.resolve("delta").toString());
    }

    @Test
    void iceberg() throws IOException {
        set("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions");
        set("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog");
        set("spark.sql.catalog.lake.type", "hadoop");
        set("spark.sql.catalog.lake.warehouse", temp.resolve("lake").toString());
        computesOnlyWhatIsMissing("table", "lake.nightly.answers");
    }
}
