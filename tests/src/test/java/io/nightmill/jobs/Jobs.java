package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/** Runs commands as a user would, in this JVM, and reads what they wrote. */
final class Jobs {
    static final ObjectMapper MAPPER = JsonMapper.builder().build();
    static final Path SHARED = Path.of(System.getProperty("nightmill.shared"));
    static final Path ROOT = Path.of(System.getProperty("nightmill.root"));

    private Jobs() {}

    /** Runs a command that must succeed. */
    static void run(String... args) {
        assertThat(Nightmill.execute(new Nightmill(), args)).isZero();
    }

    /** Runs a command that must fail; returns what it said. */
    static String fail(String... args) {
        return said(false, args);
    }

    /** Runs a command that must succeed; returns what it said. */
    static String said(String... args) {
        return said(true, args);
    }

    private static String said(boolean succeeds, String... args) {
        PrintStream err = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setErr(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            assertThat(Nightmill.execute(new Nightmill(), args) == 0).isEqualTo(succeeds);
        } finally {
            System.setErr(err);
        }
        return said.toString(StandardCharsets.UTF_8);
    }

    /** A command with what every run must be told. */
    static List<String> args(String command, Path model, Path input, Path output, String... more) {
        List<String> args = new ArrayList<>(List.of(
                command, "--model", model.toString(), "--input", input.toString(), "--output", output.toString()));
        args.addAll(List.of(more));
        return args;
    }

    static Path jsonl(Path file, List<? extends JsonNode> rows) throws IOException {
        return Files.write(file, rows.stream().map(JsonNode::toString).toList());
    }

    static ObjectNode row() {
        return MAPPER.createObjectNode();
    }

    static ArrayNode array(int... values) {
        ArrayNode array = MAPPER.createArrayNode();
        for (int value : values) {
            array.add(value);
        }
        return array;
    }

    static int[] ints(JsonNode list) {
        int[] values = new int[list.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = list.get(i).asInt();
        }
        return values;
    }

    /** The rows of a JSONL output by id; each id may be there once. */
    static Map<String, JsonNode> results(Path output) {
        Map<String, JsonNode> rows = new TreeMap<>();
        for (JsonNode row : rows(output)) {
            assertThat(rows.put(row.path("id").asText(), row))
                    .as("a second row " + row.path("id"))
                    .isNull();
        }
        return rows;
    }

    static List<JsonNode> rows(Path output) {
        try (Stream<Path> files = Files.list(output)) {
            List<JsonNode> rows = new ArrayList<>();
            for (Path file : files.filter(path -> path.getFileName().toString().startsWith("part-"))
                    .sorted()
                    .toList()) {
                for (String line : Files.readAllLines(file)) {
                    rows.add(MAPPER.readTree(line));
                }
            }
            return rows;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The results without what differs from run to run: their times. */
    static Map<String, String> withoutTiming(Path output) {
        Map<String, String> rows = new TreeMap<>();
        results(output)
                .forEach((id, row) ->
                        rows.put(id, ((ObjectNode) row).without("timing").toString()));
        return rows;
    }

    static JsonNode report(Path output) {
        try {
            return MAPPER.readTree(output.resolve("_nightmill/report.json").toFile());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
