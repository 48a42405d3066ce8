package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.engine.Completion;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.engine.TestSampling;
import io.nightmill.kernels.HostBackend;
import io.nightmill.layers.StateCost;
import io.nightmill.tensor.KvType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A beginning that rows share is computed once, of any length and for states of every kind, and changes no bit. */
class PrefixCacheTest {
    /** @param computed prompt tokens that were computed */
    private record Run(Map<String, String> results, Map<String, Integer> cached, long computed) {}

    @ParameterizedTest
    @ValueSource(
            strings = {
                "llama",
                "llama_dynamic",
                "deepseek_v3",
                "mamba",
                "granitemoehybrid",
                "zamba2",
                "qwen3_next",
                "lfm2",
                "recurrent_gemma",
                "fla_rwkv7",
                "ttt_linear"
            })
    void sharedBeginningsAreComputedOnce(String fixture) {
        Random random = new Random(fixture.hashCode());
        for (int shared : new int[] {1, 7, 16, 33, 50}) {
            List<Request> plain = new ArrayList<>();
            List<Request> hinted = new ArrayList<>();
            int[] header = random.ints(shared, 0, 256).toArray();
            for (int i = 0; i < 6; i++) {
                int[] rest = random.ints(2 + random.nextInt(20), 0, 256).toArray();
                int[] prompt = Arrays.copyOf(header, shared + rest.length);
                System.arraycopy(rest, 0, prompt, shared, rest.length);
                Ask ask = i % 3 == 0
                        ? new Ask.Score(List.of(new int[] {4, 5}, new int[] {6}), 0)
                        : new Ask.Generate(TestSampling.greedy(6, 2));
                plain.add(new Request("row " + i, prompt, ask));
                hinted.add(new Request("row " + i, prompt, ask, new int[] {shared}));
            }
            Run alone = run(fixture, plain, new Limits(1 << 24, 8, 64));
            Run together = run(fixture, hinted, new Limits(1 << 24, 8, 64));
            assertThat(together.results).isEqualTo(alone.results);
            assertThat(alone.cached.values()).containsOnly(0);
            if (!fixture.equals("llama_dynamic")) {
                assertThat(together.cached.values()).containsOnly(0, shared);
                assertThat(together.computed).isEqualTo(alone.computed - 5L * shared);
            }
            assertThat(run(fixture, hinted, new Limits(tight(fixture), 3, 11)).results)
                    .isEqualTo(alone.results);
        }
    }

    /** Two sequences and little more: snapshots are given up. */
    private static long tight(String fixture) {
        StateCost cost =
                StateCost.of(load(fixture, new HostBackend(1)).decoder().states(), KvType.F32);
        return 4 * cost.perSequence() + 16 * 14 * cost.perToken();
    }

    private static Model load(String fixture, HostBackend backend) {
        return ModelLoader.load(Golden.root().resolve(fixture), backend);
    }

    private static Run run(String fixture, List<Request> requests, Limits limits) {
        HostBackend backend = new HostBackend(1);
        Model model = load(fixture, backend);
        Map<String, String> results = new TreeMap<>();
        Map<String, Integer> cached = new TreeMap<>();
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, Set.of(), model.text().contextLength(), limits)) {
            requests.forEach(engine::submit);
            while (!engine.idle()) {
                for (Completion done : engine.step()) {
                    assertThat(done.failure()).isNull();
                    StringBuilder text = new StringBuilder();
                    for (Completion.Output output : done.outputs()) {
                        text.append(Arrays.toString(output.tokens()));
                        for (int i = 0; i < output.scores().size(); i++) {
                            text.append(' ')
                                    .append(Float.floatToRawIntBits(
                                            output.scores().logprob(i)));
                        }
                    }
                    results.put(done.request().id(), text.toString());
                    cached.put(done.request().id(), done.cachedTokens());
                }
            }
            return new Run(results, cached, engine.counters().promptTokens());
        }
    }
}
