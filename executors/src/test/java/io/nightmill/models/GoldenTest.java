package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import io.nightmill.engine.Completion;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.TestSampling;
import io.nightmill.engine.TokenScores;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.ReferenceBackend;
import io.nightmill.weights.ConfigNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every family against its reference implementation: log-probabilities, whole logits and greedy tokens. */
class GoldenTest {
    static Stream<Path> folders() {
        return Golden.all();
    }

    @ParameterizedTest
    @MethodSource("folders")
    void hostMatchesReferenceImplementation(Path folder) {
        check(folder, folder, new HostBackend(2), new Limits(1 << 24, 8, 19));
    }

    @ParameterizedTest
    @MethodSource("folders")
    void referenceBackendMatchesReferenceImplementation(Path folder) {
        check(folder, folder, new ReferenceBackend(), new Limits(1 << 24, 8, 512));
    }

    /** Whole prompts, chunks and single tokens: the same bits. */
    @ParameterizedTest
    @MethodSource("folders")
    void prefillDoesNotDependOnChunks(Path folder) {
        List<Float> whole = logprobs(folder, new Limits(1 << 24, 8, 1024));
        assertThat(logprobs(folder, new Limits(1 << 24, 2, 23))).isEqualTo(whole);
        assertThat(logprobs(folder, new Limits(1 << 24, 1, 1))).isEqualTo(whole);
    }

    private static List<Float> logprobs(Path folder, Limits limits) {
        Backend backend = new HostBackend(1);
        Model model = ModelLoader.load(folder, backend);
        JsonNode cases = ConfigNode.read(folder.resolve("golden.json")).json().path("cases");
        Map<String, Completion> results = new HashMap<>();
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, Set.of(), model.text().contextLength(), limits)) {
            for (JsonNode goldenCase : cases) {
                engine.submit(new Request(
                        goldenCase.path("name").asText(),
                        Golden.ints(goldenCase.path("input_ids")),
                        new Request.Ask.Score(List.of(), 0)));
            }
            while (!engine.idle()) {
                engine.step().forEach(done -> results.put(done.request().id(), done));
            }
        }
        List<Float> all = new ArrayList<>();
        for (JsonNode goldenCase : cases) {
            TokenScores scores = results.get(goldenCase.path("name").asText()).prompt();
            for (int i = 0; i < scores.size(); i++) {
                all.add(scores.logprob(i));
            }
        }
        return all;
    }

    /** The cases of a folder on another file of the same weights. */
    static void check(Path folder, Path file) {
        check(folder, file, new HostBackend(1), new Limits(1 << 24, 8, 33));
    }

    /** All cases of a folder run together, in chunks as the limits say. */
    static void check(Path folder, Path file, Backend backend, Limits limits) {
        Model model = ModelLoader.load(file, backend);
        JsonNode golden = ConfigNode.read(folder.resolve("golden.json")).json();
        double tolerance = golden.path("tolerance").path("suggested_abs_logits").doubleValue();
        assertThat(tolerance).isPositive();
        Map<String, Completion> results = new HashMap<>();
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, Set.of(), model.text().contextLength(), limits)) {
            for (JsonNode goldenCase : golden.path("cases")) {
                String name = goldenCase.path("name").asText();
                int[] ids = Golden.ints(goldenCase.path("input_ids"));
                engine.submit(new Request("score " + name, ids, new Request.Ask.Score(List.of(), 0)));
                engine.submit(new Request("last " + name, ids, new Request.Ask.Generate(TestSampling.greedy(1, -1))));
                engine.submit(
                        new Request("greedy " + name, ids, new Request.Ask.Generate(TestSampling.greedy(16, null))));
            }
            while (!engine.idle()) {
                engine.step()
                        .forEach(completion -> results.put(completion.request().id(), completion));
            }
        }
        for (JsonNode goldenCase : golden.path("cases")) {
            String name = goldenCase.path("name").asText();
            Completion scored = results.get("score " + name);
            assertThat(scored.failure()).isNull();
            for (int i = 0; i < goldenCase.path("token_logprobs").size(); i++) {
                assertThat((double) scored.prompt().logprob(i))
                        .as("%s: log-probability of token %d of %s", folder.getFileName(), i + 1, name)
                        .isCloseTo(goldenCase.path("token_logprobs").get(i).doubleValue(), within(tolerance));
            }
            Completion.Output last = results.get("last " + name).outputs().get(0);
            assertLastLogits(goldenCase, last, tolerance, folder.getFileName() + " " + name);
            int[] greedy = results.get("greedy " + name).outputs().get(0).tokens();
            List<Double> margins = new ArrayList<>();
            goldenCase.path("greedy_margin_top1_top2").forEach(margin -> margins.add(margin.doubleValue()));
            for (int i = 0; i < greedy.length && margins.get(i) > tolerance; i++) {
                assertThat(greedy[i])
                        .as("%s: greedy token %d of %s", folder.getFileName(), i, name)
                        .isEqualTo(goldenCase.path("greedy").get(i).asInt());
            }
        }
    }

    private static void assertLastLogits(JsonNode goldenCase, Completion.Output output, double tolerance, String what) {
        JsonNode logits = goldenCase.path("last_logits");
        double max = Double.NEGATIVE_INFINITY;
        for (JsonNode logit : logits) {
            max = Math.max(max, logit.doubleValue());
        }
        double sum = 0;
        for (JsonNode logit : logits) {
            sum += Math.exp(logit.doubleValue() - max);
        }
        double logSum = max + Math.log(sum);
        int[] ids = output.scores().tops().get(0).tokens();
        assertThat(ids).hasSize(logits.size());
        for (int j = 0; j < ids.length; j++) {
            assertThat((double) output.scores().tops().get(0).logprobs()[j])
                    .as("%s: last logit %d", what, ids[j])
                    .isCloseTo(logits.get(ids[j]).doubleValue() - logSum, within(tolerance));
        }
    }
}
