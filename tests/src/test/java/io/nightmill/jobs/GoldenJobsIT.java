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
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

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
        check(folder, "cpu");
    }

    @ParameterizedTest
    @MethodSource("folders")
    void jobsOnAnOpenClDeviceMatchReferenceImplementation(Path folder) throws IOException {
        check(folder, "opencl");
    }

    private void check(Path folder, String device) throws IOException {
        JsonNode golden = ConfigNode.read(folder.resolve("golden.json")).json();
        double tolerance = golden.path("tolerance").path("suggested_abs_logits").doubleValue();
        assertThat(tolerance).isPositive();
        List<ObjectNode> rows = new ArrayList<>();
        for (JsonNode goldenCase : golden.path("cases")) {
            ObjectNode row = Jobs.row().put("id", goldenCase.path("name").asText());
            row.set("prompt_token_ids", goldenCase.path("input_ids"));
            rows.add(row);
        }
        assertThat(rows).isNotEmpty();
        Path input = Jobs.jsonl(temp.resolve("cases.jsonl"), rows);
        run("score", folder, input, "--device", device);
        run("generate", folder, input, "--device", device, "--max-tokens", "16", "--ignore-eos", "--logprobs", "-1");

        Map<String, JsonNode> scored = Jobs.results(temp.resolve("score"));
        Map<String, JsonNode> generated = Jobs.results(temp.resolve("generate"));
        for (JsonNode goldenCase : golden.path("cases")) {
            String name = goldenCase.path("name").asText();
            JsonNode logprobs = scored.get(name).path("token_logprobs");
            assertThat(logprobs.size()).isEqualTo(goldenCase.path("input_ids").size());
            for (int i = 0; i < goldenCase.path("token_logprobs").size(); i++) {
                assertThat(logprobs.get(i + 1).doubleValue())
                        .as("%s: token %d", name, i + 1)
                        .isCloseTo(goldenCase.path("token_logprobs").get(i).doubleValue(), within(tolerance));
            }
            JsonNode output = generated.get(name).path("outputs").path(0);
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

    private void run(String command, Path folder, Path input, String... more) {
        List<String> args = new ArrayList<>(List.of(
                command,
                "--model",
                folder.toString(),
                "--input",
                input.toString(),
                "--output",
                temp.resolve(command).toString(),
                "--output-format",
                "jsonl",
                "--dtype",
                "f32",
                "--kv-memory",
                "64m",
                "--max-num-batched-tokens",
                "48"));
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
