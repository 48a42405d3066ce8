package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.Families;
import io.nightmill.weights.ConfigNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every golden family through the score and generate jobs, with token ids as input, in float32. */
class GoldenJobsIT {
    @TempDir
    Path temp;

    static Stream<Path> folders() throws IOException {
        List<String> supported = Families.modelTypes();
        try (Stream<Path> list = Files.list(Jobs.SHARED.resolve("golden"))) {
            return list
                    .filter(folder -> Files.exists(folder.resolve("config.json"))
                            && supported.contains(ConfigNode.read(folder.resolve("config.json"))
                                    .textOr("model_type", "")))
                    .sorted()
                    .toList()
                    .stream();
        }
    }

    @ParameterizedTest
    @MethodSource("folders")
    void jobsMatchReferenceImplementation(Path folder) throws IOException {
        assertScores(folder, "cpu");
        assertGenerates(folder, "cpu");
    }

    /** Of a job that generates: it scores its prompts as well. */
    @ParameterizedTest
    @MethodSource("folders")
    void jobsOnAnOpenClDeviceMatchReferenceImplementation(Path folder) throws IOException {
        assertGenerates(folder, "opencl");
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama_tied", "qwen3_moe", "deepseek_v3", "granitemoehybrid", "qwen3_next"})
    void scoresOnAnOpenClDeviceMatchReferenceImplementation(String name) throws IOException {
        assertScores(Jobs.SHARED.resolve("golden").resolve(name), "opencl");
    }

    private static JsonNode golden(Path folder) {
        return ConfigNode.read(folder.resolve("golden.json")).json();
    }

    private static double tolerance(JsonNode golden) {
        double tolerance = golden.path("tolerance").path("suggested_abs_logits").doubleValue();
        assertThat(tolerance).isPositive();
        return tolerance;
    }

    private Path input(JsonNode golden) throws IOException {
        List<ObjectNode> rows = new ArrayList<>();
        for (JsonNode goldenCase : golden.path("cases")) {
            ObjectNode row = Jobs.row().put("id", goldenCase.path("name").asText());
            row.set("prompt_token_ids", goldenCase.path("input_ids"));
            rows.add(row);
        }
        assertThat(rows).isNotEmpty();
        return Jobs.jsonl(temp.resolve("cases.jsonl"), rows);
    }

    private void assertScores(Path folder, String device) throws IOException {
        JsonNode golden = golden(folder);
        double tolerance = tolerance(golden);
        run("score", folder, input(golden), device);
        Map<String, JsonNode> scored = Jobs.results(temp.resolve("score"));
        for (JsonNode goldenCase : golden.path("cases")) {
            JsonNode logprobs = scored.get(goldenCase.path("name").asText()).path("token_logprobs");
            assertThat(logprobs.size()).isEqualTo(goldenCase.path("input_ids").size());
            assertLogprobs(goldenCase, logprobs::get, tolerance);
        }
    }

    private void assertGenerates(Path folder, String device) throws IOException {
        JsonNode golden = golden(folder);
        double tolerance = tolerance(golden);
        run(
                "generate",
                folder,
                input(golden),
                device,
                "--max-tokens",
                "16",
                "--ignore-eos",
                "--logprobs",
                "-1",
                "--prompt-logprobs",
                "0");
        Map<String, JsonNode> generated = Jobs.results(temp.resolve("generate"));
        for (JsonNode goldenCase : golden.path("cases")) {
            String name = goldenCase.path("name").asText();
            JsonNode row = generated.get(name);
            assertThat(row.path("prompt_logprobs").size())
                    .isEqualTo(goldenCase.path("input_ids").size());
            assertLogprobs(goldenCase, i -> row.path("prompt_logprobs").get(i).path("logprob"), tolerance);
            JsonNode output = row.path("outputs").path(0);
            assertLastLogits(
                    name,
                    goldenCase.path("last_logits"),
                    output.path("logprobs").path(0).path("top"),
                    tolerance);
            for (int i = 0;
                    i < 16 && goldenCase.path("greedy_margin_top1_top2").get(i).doubleValue() > tolerance;
                    i++) {
                assertThat(output.path("token_ids").get(i))
                        .as("%s: greedy token %d", name, i)
                        .isEqualTo(goldenCase.path("greedy").get(i));
            }
        }
    }

    /** @param logprob of the prompt's i-th token */
    private static void assertLogprobs(JsonNode goldenCase, IntFunction<JsonNode> logprob, double tolerance) {
        for (int i = 0; i < goldenCase.path("token_logprobs").size(); i++) {
            assertThat(logprob.apply(i + 1).doubleValue())
                    .as("%s: token %d", goldenCase.path("name").asText(), i + 1)
                    .isCloseTo(goldenCase.path("token_logprobs").get(i).doubleValue(), within(tolerance));
        }
    }

    private void run(String command, Path folder, Path input, String device, String... more) {
        List<String> args = Jobs.args(
                command,
                folder,
                input,
                temp.resolve(command),
                "--output-format",
                "jsonl",
                "--device",
                device,
                "--dtype",
                "f32",
                "--kv-memory",
                "64m",
                "--max-num-batched-tokens",
                "48");
        args.addAll(List.of(more));
        Jobs.run(args.toArray(new String[0]));
    }

    /** Log-probabilities are logits up to a constant, which their sum fixes. */
    private static void assertLastLogits(String name, JsonNode logits, JsonNode top, double tolerance) {
        assertThat(top.size()).isEqualTo(logits.size());
        double sum = 0;
        for (JsonNode logit : logits) {
            sum += Math.exp(logit.doubleValue());
        }
        for (JsonNode entry : top) {
            double expected = logits.get(entry.path("token_id").asInt()).doubleValue() - Math.log(sum);
            assertThat(entry.path("logprob").doubleValue())
                    .as("%s: logit of %s", name, entry.path("token_id"))
                    .isCloseTo(expected, within(tolerance));
        }
    }
}
