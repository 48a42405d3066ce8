package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.kernels.gpu.OpenClDevice;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Executors with an OpenCL runtime each, which Spark gives them as it gives GPUs. */
class DeviceIT {
    private static final List<String> GPUS = List.of(
            "--conf",
            "spark.executor.resource.gpu.amount=1",
            "--conf",
            "spark.task.resource.gpu.amount=1",
            "--conf",
            "spark.executor.cores=1");

    @TempDir
    static Path temp;

    private static List<String> stories(Path input, Path output, String... more) {
        List<String> args = new ArrayList<>(List.of("--max-tokens", "30", "--shard-tokens", "500"));
        args.addAll(List.of("--output-format", "jsonl"));
        args.addAll(List.of(more));
        Path model = Jobs.ROOT.resolve("conf/demo/stories-hybrid-moe");
        return Jobs.args("generate", model, input, output, args.toArray(new String[0]));
    }

    private static Path prompts(String file, int count, String text) throws IOException {
        List<ObjectNode> rows = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            rows.add(Jobs.row().put("id", "story-" + i).put("prompt", text + i));
        }
        return Jobs.jsonl(temp.resolve(file), rows);
    }

    @Test
    void devicesAreListedAndTried() {
        PrintStream out = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            Jobs.run("devices");
        } finally {
            System.setOut(out);
        }
        assertThat(printed.toString(StandardCharsets.UTF_8))
                .contains("opencl:0 ")
                .contains("compute units")
                .contains("extensions: ")
                .contains("self-test: passed");
    }

    @Test
    void aDeviceThatIsNotThereIsSaidAtOnce() throws IOException {
        Path input = Jobs.jsonl(temp.resolve("one.jsonl"), List.of(Jobs.row().put("prompt", "Once")));
        assertThat(Jobs.fail(stories(input, temp.resolve("nothing"), "--device", "opencl:77")
                        .toArray(new String[0])))
                .startsWith("nightmill: Cannot use device opencl:77: found [opencl:0 ");
    }

    /** Rounded products too are the same for any company. */
    @ParameterizedTest
    @ValueSource(strings = {"bf16", "int8", "int4"})
    void roundedRowsDoNotDependOnTheirCompany(String dtype) throws IOException {
        Path input = prompts("cats.jsonl", 5, "There was a cat ");
        Path together = temp.resolve("together-" + dtype);
        Path alone = temp.resolve("alone-" + dtype);
        String[] rounded = {"--device", "opencl", "--dtype", dtype, "--max-num-seqs", "5"};
        Jobs.run(stories(input, together, rounded).toArray(new String[0]));
        rounded[5] = "1";
        Jobs.run(stories(input, alone, rounded).toArray(new String[0]));
        assertThat(Jobs.report(together).path("backends"))
                .allSatisfy(backend -> assertThat(backend.asText()).endsWith("+" + dtype));
        assertThat(Jobs.withoutTiming(together)).hasSize(5).isEqualTo(Jobs.withoutTiming(alone));
    }

    /** A device that may hold half of the weights: layers and experts come through the host, and the answers are the same. */
    @Test
    void weightsThatDoNotFitADeviceAreBroughtAndCounted() throws IOException {
        Path input = prompts("dogs.jsonl", 6, "There was a dog ");
        Path all = temp.resolve("all");
        Path few = temp.resolve("few");
        Jobs.run(stories(input, all, "--device", "opencl").toArray(new String[0]));
        double fraction = 1.5e6 / OpenClDevice.list().get(0).memoryBytes();
        String[] limited = {
            "--device", "opencl", "--device-memory-fraction", String.format(Locale.ROOT, "%.12f", fraction)
        };
        Jobs.run(stories(input, few, limited).toArray(new String[0]));
        assertThat(Jobs.withoutTiming(few)).hasSize(6).isEqualTo(Jobs.withoutTiming(all));
        JsonNode whole = Jobs.report(all).at("/executors/0");
        assertThat(whole.path("streamed_weights").isMissingNode()).isTrue();
        double shares = 0;
        for (JsonNode kernel : whole.path("kernels")) {
            assertThat(kernel.path("launches").asLong()).isPositive();
            assertThat(kernel.path("seconds").asDouble()).isPositive();
            shares += kernel.path("share").asDouble();
            if (kernel.path("kernel").asText().startsWith("ProductKernels.product")) {
                assertThat(kernel.path("flops_per_second").asDouble()).isPositive();
                assertThat(kernel.path("of_product_flops").asDouble()).isPositive();
            }
        }
        assertThat(shares).isCloseTo(1, within(1e-9));
        JsonNode streamed = Jobs.report(few).at("/executors/0/streamed_weights");
        assertThat(streamed.path("bytes").asLong()).isPositive();
        assertThat(streamed.path("expert_hits").asLong()).isPositive();
        assertThat(streamed.path("expert_misses").asLong()).isPositive();
    }

    @Test
    void executorsRunOnTheDevicesThatSparkGives() throws IOException, InterruptedException {
        Path input = prompts("stories.jsonl", 40, "Once upon a time there were ");
        Path one = temp.resolve("one");
        Path many = temp.resolve("many");
        try (Cluster cluster = Cluster.withDevices(temp)) {
            List<String> asked = stories(input, one, "--device", "opencl");
            cluster.await("one", cluster.submit("one", "local[1]", List.of(), asked));
            cluster.await("many", cluster.submit("many", cluster.master(), GPUS, stories(input, many)));
        }
        assertThat(Jobs.withoutTiming(many)).hasSize(40).isEqualTo(Jobs.withoutTiming(one));
        JsonNode report = Jobs.report(many);
        assertThat(report.path("device").asText()).isEqualTo("opencl");
        assertThat(report.path("backends")).hasSize(2).allSatisfy(backend -> assertThat(backend.asText())
                .startsWith("opencl:0 "));
        assertThat(report.at("/rows/ok").asInt()).isEqualTo(40);
    }
}
