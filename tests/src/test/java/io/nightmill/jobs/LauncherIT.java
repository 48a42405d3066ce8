package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The script that README's first command runs. */
class LauncherIT {
    private static final List<String> FIRST = Stream.of("Once", "The cat", "One day", "Lily", "Tom and", "In a")
            .map("{\"prompt\": \"%s\"}"::formatted)
            .toList();

    @TempDir
    Path temp;

    private String launch(int status, String... args) throws IOException, InterruptedException {
        return launch(status, Map.of(), args);
    }

    private String launch(int status, Map<String, String> environment, String... args)
            throws IOException, InterruptedException {
        List<String> command =
                new ArrayList<>(List.of(Jobs.ROOT.resolve("nightmill").toString()));
        command.addAll(List.of(args));
        Path said = temp.resolve("said");
        ProcessBuilder builder =
                new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(said.toFile());
        builder.environment().putAll(environment);
        Process process = builder.start();
        assertThat(process.waitFor(5, TimeUnit.MINUTES)).isTrue();
        String text = Files.readString(said, StandardCharsets.UTF_8);
        assertThat(process.exitValue()).as(text).isEqualTo(status);
        return text;
    }

    @Test
    void demoWritesStories() throws IOException, InterruptedException {
        String said = launch(0, "demo", "--driver-memory", "1g");
        assertThat(said)
                .contains("./nightmill generate --model", "spark-submit --master", "12/12 rows", "tok/s out")
                .contains("12 rows (12 ok, 0 failed)", "First rows of", "\"outputs\":[{\"index\":0,\"text\":\"");
    }

    /** The Vector API reads byte buffers in Java 17 and memory segments in later ones: the answers are the same. */
    @Test
    void otherJavasGiveTheSameAnswers() throws IOException, InterruptedException {
        List<Path> homes = otherJavas();
        Assumptions.assumeFalse(homes.isEmpty(), "no other Java of 17 or later in /usr/lib/jvm");
        List<String> expected = answers(Path.of(System.getProperty("java.home")));
        assertThat(expected).hasSize(12);
        for (Path home : homes) {
            List<String> actual = answers(home);
            assertThat(actual).hasSize(12);
            for (int i = 0; i < actual.size(); i++) {
                assertThat(actual.get(i)).as("an answer of %s", home).isEqualTo(expected.get(i));
            }
        }
    }

    private static List<Path> otherJavas() throws IOException {
        Path installed = Path.of("/usr/lib/jvm");
        if (!Files.isDirectory(installed)) {
            return List.of();
        }
        Pattern version = Pattern.compile("JAVA_VERSION=\"(\\d+)");
        Map<Integer, Path> homes = new TreeMap<>();
        try (Stream<Path> found = Files.list(installed)) {
            for (Path home : found.filter(each -> Files.isRegularFile(each.resolve("release")))
                    .toList()) {
                Matcher matcher = version.matcher(Files.readString(home.resolve("release")));
                if (matcher.find() && Files.isExecutable(home.resolve("bin/java"))) {
                    homes.put(Integer.parseInt(matcher.group(1)), home);
                }
            }
        }
        homes.keySet()
                .removeIf(
                        feature -> feature <= 17 || feature == Runtime.version().feature());
        return List.copyOf(homes.values());
    }

    /** Rows of exact and of rounded products, without what may differ between two runs. */
    private List<String> answers(Path home) throws IOException, InterruptedException {
        List<String> rows = new ArrayList<>();
        for (String dtype : List.of("f32", "int8")) {
            Path out = Files.createTempDirectory(temp, "answers");
            launch(
                    0,
                    Map.of("JAVA_HOME", home.toString()),
                    "generate",
                    "--model",
                    Jobs.ROOT.resolve("conf/demo/stories-hybrid-moe").toString(),
                    "--input",
                    Files.write(temp.resolve("in.jsonl"), FIRST).toString(),
                    "--output",
                    out.resolve("table").toString(),
                    "--output-format",
                    "jsonl",
                    "--max-tokens",
                    "40",
                    "--logprobs",
                    "2",
                    "--dtype",
                    dtype,
                    "--driver-memory",
                    "1g");
            List<String> these = new ArrayList<>();
            try (Stream<Path> parts = Files.list(out.resolve("table"))) {
                for (Path part : parts.filter(
                                each -> each.getFileName().toString().startsWith("part-"))
                        .toList()) {
                    these.addAll(Files.readAllLines(part));
                }
            }
            these.replaceAll(row -> row.replaceAll("\"timing\":\\{[^}]*}", ""));
            // Rows are written as they finish.
            Collections.sort(these);
            rows.addAll(these);
        }
        return rows;
    }

    @Test
    void badJobIsOneLineBeforeAnythingLoads() throws IOException, InterruptedException {
        Path input = Files.writeString(temp.resolve("in.jsonl"), "{\"question\":\"?\"}\n");
        String said = launch(
                1,
                "generate",
                "--model",
                Jobs.ROOT.resolve("conf/demo/stories-hybrid-moe").toString(),
                "--input",
                input.toString(),
                "--output",
                temp.resolve("out").toString(),
                "--driver-memory",
                "1g");
        assertThat(said.strip()
                        .lines()
                        .toList()
                        .get(said.strip().lines().toList().size() - 1))
                .startsWith("nightmill: Cannot find prompts in the input: it has the columns [question]");
        assertThat(said).doesNotContain("Runtime for").doesNotContain("\tat ");
    }

    /** What the launcher asks of a Spark that only says what it was asked, and has these defaults. */
    private String submitted(String defaults, String... args) throws IOException, InterruptedException {
        Path submit = Files.createDirectories(temp.resolve("spark/bin")).resolve("spark-submit");
        Files.writeString(submit, "#!/bin/sh\nprintf '%s\\n' \"$@\" \"$GLIBC_TUNABLES\"\n");
        assertThat(submit.toFile().setExecutable(true)).isTrue();
        Files.writeString(Files.createDirectories(temp.resolve("spark/conf")).resolve("spark-defaults.conf"), defaults);
        return launch(0, Map.of("SPARK_HOME", temp.resolve("spark").toString()), args);
    }

    @Test
    void oneMachineAndHalfOfItsMemoryAreTheDefaults() throws IOException, InterruptedException {
        String collector = Runtime.getRuntime().availableProcessors() < 4 ? "-XX:+UseSerialGC" : "-XX:+UseParallelGC";
        assertThat(submitted("# spark.master spark://commented:7077\n", "models"))
                .contains("--master\nlocal[*]\n", "--driver-memory\n", collector, "glibc.malloc.hugetlb=1");
    }

    @Test
    void whatTheUserSaysIsLeftAsItIs() throws IOException, InterruptedException {
        assertThat(submitted("spark.master  spark://there:7077\n", "models"))
                .doesNotContain("--master", "--driver-memory")
                .contains("-XX:+UseParallelGC -Xmn48m");
        assertThat(submitted("", "--conf", "spark.master=local[3]", "--conf", "spark.driver.memory=3g", "models"))
                .doesNotContain("--master", "--driver-memory");
        Path file = Files.writeString(
                temp.resolve("my.conf"),
                "spark.master=spark://mine:7077\nspark.driver.defaultJavaOptions -XX:+UseSerialGC\n");
        assertThat(submitted("spark.driver.memory 5g\n", "--properties-file", file.toString(), "models"))
                .doesNotContain("--master", "--driver-memory", "UseParallelGC");
        assertThat(submitted("spark.master spark://there:7077\n", "--master", "local[2]", "models"))
                .contains("--master\nlocal[2]\n", "--driver-memory\n");
    }
}
