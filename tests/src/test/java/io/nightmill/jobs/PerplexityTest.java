package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.nightmill.engine.Completion;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.ReferenceBackend;
import io.nightmill.models.Model;
import io.nightmill.models.ModelLoader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PerplexityTest {
    private static final Path MODEL = Path.of("../../shared/real/stories-hybrid-moe");
    private static final Path TEXT = MODEL.resolve("samples.txt");

    private static String said(boolean succeeds, String... args) {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        PrintStream to = new PrintStream(said, true, StandardCharsets.UTF_8);
        System.setOut(to);
        System.setErr(to);
        try {
            assertThat(Nightmill.execute(new Nightmill(), args) == 0).isEqualTo(succeeds);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        return said.toString(StandardCharsets.UTF_8);
    }

    private static String[] row(String table, String dtype) {
        String line = table.lines()
                .filter(l -> l.startsWith("| " + dtype + " |"))
                .findFirst()
                .orElseThrow();
        return Arrays.stream(line.split("\\|")).map(String::trim).toArray(String[]::new);
    }

    private static double percent(String cell) {
        return Double.parseDouble(cell.replace("%", ""));
    }

    @ParameterizedTest
    @ValueSource(strings = {"cpu", "opencl"})
    void comparesPrecisionsOnAText(String device) throws IOException {
        String table = said(
                true,
                "perplexity",
                "--model",
                MODEL.toString(),
                "--text",
                TEXT.toString(),
                "--device",
                device,
                "--dtype",
                "f32,int8,int4",
                "--ctx-size",
                "100",
                "--chunks",
                "3");
        assertThat(table).contains("300 tokens of").contains("in 3 windows");
        double expected = byReference(3, 100);
        assertThat(Double.parseDouble(row(table, "f32")[3])).isCloseTo(expected, within(2e-4 * expected));
        assertThat(row(table, "f32")[5]).isEqualTo("+0.000%");
        assertThat(row(table, "f32")[7]).isEqualTo("100.00%");
        for (String dtype : List.of("int8", "int4")) {
            String[] row = row(table, dtype);
            double perplexity = Double.parseDouble(row[3]);
            assertThat(perplexity).isNotEqualTo(expected).isCloseTo(expected, within(0.1 * expected));
            assertThat(percent(row[5])).isCloseTo(100 * (perplexity / expected - 1), within(0.05));
            assertThat(percent(row[7])).isBetween(80.0, 99.99);
        }
        // Four bits are further away than eight.
        assertThat(percent(row(table, "int4")[7])).isLessThan(percent(row(table, "int8")[7]));
    }

    private static double byReference(int windows, int size) throws IOException {
        Backend backend = new ReferenceBackend();
        Model model = ModelLoader.load(MODEL, backend);
        int[] tokens = model.text().encode(Files.readString(TEXT));
        double sum = 0;
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, model.text().endTokens(), size, new Limits(1 << 26, 4, 64))) {
            for (int i = 0; i < windows; i++) {
                int[] window = Arrays.copyOfRange(tokens, i * size, (i + 1) * size);
                engine.submit(new Request("" + i, window, new Request.Ask.Score(List.of(), 0)));
            }
            while (!engine.idle()) {
                for (Completion completion : engine.step()) {
                    sum += completion.prompt().sum();
                }
            }
        }
        return Math.exp(-sum / (windows * (size - 1)));
    }

    @Test
    void saysWhyATextCannotBeScored() throws IOException {
        String[] common = {"perplexity", "--model", MODEL.toString(), "--text", TEXT.toString()};
        assertThat(said(false, with(common, "--ctx-size", "1"))).contains("Cannot use ctx-size 1");
        assertThat(said(false, with(common, "--dtype", "f32,q4"))).contains("Cannot use dtype 'q4'");
        Path empty = Files.createTempFile("empty", ".txt");
        assertThat(said(false, "perplexity", "--model", MODEL.toString(), "--text", empty.toString()))
                .contains("expected 2 or more");
    }

    private static String[] with(String[] first, String... more) {
        String[] all = Arrays.copyOf(first, first.length + more.length);
        System.arraycopy(more, 0, all, first.length, more.length);
        return all;
    }
}
