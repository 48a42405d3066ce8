package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A rerun computes what is missing or changed, counted in tokens, and leaves the table that a fresh run would write. */
class ResumeIT {
    private static final Path MODEL = Jobs.SHARED.resolve("real/stories260K.gguf");

    @TempDir
    Path temp;

    private Path out;
    private Path input;

    @BeforeEach
    void place() {
        out = temp.resolve("out");
        input = temp.resolve("in.jsonl");
    }

    private static List<ObjectNode> prompts(int count) {
        List<ObjectNode> rows = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            rows.add(Jobs.row().put("id", "row-" + i).put("prompt", "Once there were " + i));
        }
        return rows;
    }

    /** Returns the report. */
    private JsonNode run(List<? extends JsonNode> rows, Path output, String... more) throws IOException {
        return runOn(MODEL, rows, output, more);
    }

    private JsonNode runOn(Path model, List<? extends JsonNode> rows, Path output, String... more) throws IOException {
        Jobs.jsonl(input, rows);
        List<String> args = Jobs.args("generate", model, input, output, "--max-tokens", "4", "--kv-memory", "64m");
        if (!List.of(more).contains("--output-format")) {
            args.addAll(List.of("--output-format", "jsonl"));
        }
        args.addAll(List.of(more));
        Jobs.run(args.toArray(new String[0]));
        return Jobs.report(output);
    }

    private static void assertComputed(JsonNode report, int rows) {
        assertThat(report.at("/rows/in").asInt() - report.at("/rows/kept").asInt())
                .isEqualTo(rows);
        assertThat(report.at("/tokens/completion").asInt()).isEqualTo(4 * rows);
        if (rows == 0) {
            assertThat(report.at("/tokens/prompt").asInt()).isZero();
        }
    }

    private void assertFresh(List<? extends JsonNode> rows, String... more) throws IOException {
        Path fresh = temp.resolve("fresh-" + System.nanoTime());
        run(rows, fresh, more);
        assertThat(Jobs.withoutTiming(out)).isEqualTo(Jobs.withoutTiming(fresh));
    }

    @Test
    void onlyEditedRowsAreComputed() throws IOException {
        List<ObjectNode> rows = prompts(1000);
        assertComputed(run(rows, out), 1000);
        Map<String, String> before = Jobs.withoutTiming(out);
        assertComputed(run(rows, out), 0);
        assertThat(Jobs.withoutTiming(out)).isEqualTo(before);
        for (int i : new int[] {7, 500, 999}) {
            rows.get(i).put("prompt", "Twice there were " + i);
        }
        assertComputed(run(rows, out, "--resume"), 3);
        assertFresh(rows);
    }

    @Test
    void otherKeysAndValuesAreOtherAnswersAndGuessesAreNot() throws IOException {
        List<ObjectNode> rows = prompts(20);
        run(rows, out);
        String guesses = "{\"method\":\"ngram\",\"num_speculative_tokens\":3,\"prompt_lookup_min\":1}";
        assertComputed(run(rows, out, "--speculative-config", guesses), 0);
        assertFresh(rows, "--speculative-config", guesses);
        String draft = "{\"model\":\"%s\",\"num_speculative_tokens\":2}".formatted(MODEL);
        assertComputed(run(rows, out, "--speculative-config", draft), 0);
        assertFresh(rows, "--speculative-config", draft);
        assertComputed(run(rows, out, "--kv-dtype", "int8"), 20);
        JsonNode report = run(rows, out, "--dtype", "int8", "--kv-dtype", "int8", "--speculative-config", guesses);
        assertComputed(report, 20);
        assertThat(report.get("dtype").asText()).isEqualTo("int8");
        assertThat(report.get("kv_dtype").asText()).isEqualTo("int8");
    }

    @Test
    void rowsThatLeftTheInputLeaveTheTableAndNewOnesJoinIt() throws IOException {
        List<ObjectNode> rows = prompts(50);
        run(rows, out);
        List<ObjectNode> changed = new ArrayList<>(prompts(60).subList(10, 60));
        assertComputed(run(changed, out), 10);
        assertFresh(changed);
        run(List.of(changed.get(0)), out);
        assertThat(Jobs.results(out)).containsOnlyKeys("row-10");
    }

    @Test
    void equalRowsAreCounted() throws IOException {
        List<ObjectNode> rows = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            rows.add(Jobs.row().put("id", "same").put("prompt", "Once upon a time"));
        }
        JsonNode report = run(rows, out);
        assertThat(report.at("/rows/duplicates").asInt()).isEqualTo(2);
        assertThat(report.at("/tokens/completion").asInt()).isEqualTo(4);
        assertThat(Jobs.rows(out)).hasSize(3);
        rows.add(rows.get(0));
        assertComputed(run(rows, out), 1);
        assertThat(Jobs.rows(out)).hasSize(4);
        assertComputed(run(rows.subList(0, 2), out), 0);
        assertThat(Jobs.rows(out)).hasSize(2);
    }

    /** Rows that ask the same are answered once and each get the answer; where it is drawn, each draws its own. */
    @Test
    void duplicatesAreComputedOnce() throws IOException {
        List<ObjectNode> rows = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            rows.add(Jobs.row().put("id", "row-" + i).put("prompt", "Once there were " + i % 3));
        }
        rows.add(Jobs.row()
                .put("id", "drawn-1")
                .put("prompt", "Once there were 0")
                .put("temperature", 1.5));
        rows.add(Jobs.row()
                .put("id", "drawn-2")
                .put("prompt", "Once there were 0")
                .put("temperature", 1.5));
        JsonNode report = run(rows, out);
        assertThat(report.at("/rows/duplicates").asInt()).isEqualTo(27);
        assertThat(report.at("/tokens/completion").asInt()).isEqualTo(4 * (3 + 2));
        Map<String, JsonNode> results = Jobs.results(out);
        assertThat(results).hasSize(32);
        for (int i = 3; i < 30; i++) {
            assertThat(results.get("row-" + i).path("outputs"))
                    .isEqualTo(results.get("row-" + i % 3).path("outputs"));
        }
        assertThat(results.get("drawn-1").path("outputs"))
                .isNotEqualTo(results.get("drawn-2").path("outputs"));
    }

    /** However the input is ordered, rows with a common header meet, and it is computed once. */
    @Test
    void scatteredHeadersMeet() throws IOException {
        List<ObjectNode> rows = new ArrayList<>();
        String[] headers = {
            "A long story about a bear who lived in the woods. ", "The tale of a fish that wanted to fly. "
        };
        for (int i = 0; i < 80; i++) {
            rows.add(Jobs.row().put("id", "row-" + i).put("prompt", headers[i * 7 % 2] + "Part " + i));
        }
        JsonNode report = run(rows, out);
        int header = 15;
        assertThat(report.at("/plan/shared_prompt_tokens").asInt()).isGreaterThan(78 * header);
        long cached = Jobs.results(out).values().stream()
                .filter(row -> row.at("/timing/cached_tokens").asInt() > header)
                .count();
        assertThat(cached).isGreaterThan(70);
    }

    @Test
    void aPlanSaysWhatWouldBeDone() throws IOException {
        List<ObjectNode> rows = prompts(10);
        run(rows.subList(0, 4), out);
        Map<String, String> before = Jobs.withoutTiming(out);
        rows.add(Jobs.row().put("id", "twin").put("prompt", "Once there were 9"));
        rows.add(Jobs.row().put("id", "wrong").put("prompt", "x").put("top_p", 7));
        rows.add(Jobs.row().put("id", "long").put("prompt", "a b c d ".repeat(900)));
        Jobs.jsonl(input, rows);
        // Another run may be writing: its unfinished work is not to be touched.
        Path unfinished = Files.createDirectories(out.resolve("_temporary/0"));
        String said = said(Jobs.args("plan", MODEL, input, out, "--output-format", "jsonl", "--max-tokens", "4")
                .toArray(new String[0]));
        assertThat(said)
                .contains(
                        "13 rows: 9 to compute, 4 there already, 1 of them duplicates (mode resume)",
                        "1 rows will fail as bad_input",
                        "wrong: ",
                        "1 rows will fail as too_long",
                        "long: ",
                        "1 shards",
                        "MB of weights");
        assertThat(unfinished).exists();
        assertThat(Jobs.withoutTiming(out)).isEqualTo(before);
    }

    @Test
    void failedRowsAreTriedAgain() throws IOException {
        List<ObjectNode> rows = prompts(5);
        rows.get(3).put("temperature", -1);
        JsonNode first = run(rows, out);
        assertThat(first.at("/rows/error").asInt()).isEqualTo(1);
        JsonNode second = run(rows, out);
        assertThat(second.at("/rows/kept").asInt()).isEqualTo(4);
        assertThat(second.at("/rows/error").asInt()).isEqualTo(1);
        assertThat(Jobs.results(out)).hasSize(5);
        rows.get(3).remove("temperature");
        assertComputed(run(rows, out), 1);
        assertFresh(rows);
    }

    @Test
    void otherParametersAndOtherWeightsAreOtherAnswers() throws IOException {
        List<ObjectNode> rows = prompts(6);
        rows.get(2).put("temperature", 0.5);
        run(rows, out);
        assertComputed(run(rows, out, "--seed", "5"), 6);
        assertComputed(run(rows, out, "--seed", "5"), 0);
        rows.get(2).put("temperature", 0.6);
        assertComputed(run(rows, out, "--seed", "5"), 1);
        assertFresh(rows, "--seed", "5");

        Path model = Files.copy(MODEL, temp.resolve("copy.gguf"));
        assertThat(runOn(model, rows, out, "--seed", "5").at("/rows/kept").asInt())
                .as("the same content under another name")
                .isEqualTo(6);
        byte[] bytes = Files.readAllBytes(model);
        bytes[bytes.length - 1000] ^= 1;
        Files.write(model, bytes);
        assertThat(runOn(model, rows, out, "--seed", "5").at("/rows/kept").asInt())
                .isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"parquet", "orc"})
    void columnarTablesResumeToo(String format) throws IOException {
        List<ObjectNode> rows = prompts(20);
        run(rows, out, "--output-format", format, "--logprobs", "1");
        rows.get(4).put("prompt", "Twice there were four");
        assertComputed(run(rows, out, "--output-format", format, "--logprobs", "1"), 1);
        assertComputed(run(rows, out, "--output-format", format, "--logprobs", "1"), 0);
        try (SparkSession spark =
                SparkSession.builder().master("local[1]").appName("reader").getOrCreate()) {
            assertThat(spark.read()
                            .format(format)
                            .load(out.toString())
                            .select("id")
                            .distinct()
                            .count())
                    .isEqualTo(20);
            assertThat(spark.read().format(format).load(out.toString()).count()).isEqualTo(20);
        }
    }

    @Test
    void aSwapThatDiedIsFinished() throws IOException {
        List<ObjectNode> rows = prompts(8);
        run(rows, out);
        Map<String, String> before = Jobs.withoutTiming(out);
        // As it is after the first of two old files is gone: the new one not yet in place.
        List<Path> parts;
        try (Stream<Path> files = Files.list(out)) {
            parts = files.filter(path -> path.getFileName().toString().startsWith("part-"))
                    .sorted()
                    .toList();
        }
        Path swap = Files.createDirectories(out.resolve("_nightmill/swap"));
        Files.copy(parts.get(0), swap.resolve("part-new.json"));
        Files.writeString(
                out.resolve("_nightmill/swap.json"),
                "{\"remove\":[\"%s\",\"file:/nowhere/part-gone.json\"]}"
                        .formatted(parts.get(0).toUri()));
        assertComputed(run(rows, out), 0);
        assertThat(Jobs.withoutTiming(out)).isEqualTo(before);
        assertThat(swap).doesNotExist();
    }

    @Test
    void resultsLandInIncrements() throws IOException {
        List<ObjectNode> rows = prompts(100);
        JsonNode report = run(rows, out, "--checkpoint-interval", "20,60s");
        assertThat(report.path("shards").asInt()).isGreaterThanOrEqualTo(5);
        assertThat(Jobs.results(out)).hasSize(100);
        assertThat(said("status", out.toString()))
                .contains("complete", "100 of 100 ok (0 from earlier runs), 0 remaining", "400 completion");
    }

    /** What a command prints. */
    private static String said(String... args) {
        PrintStream stdout = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            Jobs.run(args);
        } finally {
            System.setOut(stdout);
        }
        return said.toString(StandardCharsets.UTF_8);
    }

    @Test
    void whatCannotBeResumedSaysSo() throws IOException {
        assertThat(Jobs.fail("status", out.toString())).contains("manifest.json", "no run has written");
        List<ObjectNode> rows = prompts(2);
        Jobs.jsonl(input, rows);
        String[] args = Jobs.args("generate", MODEL, input, out, "--resume").toArray(new String[0]);
        assertThat(Jobs.fail(args)).contains("Cannot resume", "no run has written to it");
        args[args.length - 1] = "--checkpoint-interval=soon";
        assertThat(Jobs.fail(args)).contains("checkpoint-interval 'soon'", "600s");
    }
}
