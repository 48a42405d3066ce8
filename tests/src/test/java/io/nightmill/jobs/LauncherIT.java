package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The script that README's first command runs. */
class LauncherIT {
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
