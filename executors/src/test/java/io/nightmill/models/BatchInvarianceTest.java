package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.nightmill.engine.Completion;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Draft;
import io.nightmill.engine.DraftModel;
import io.nightmill.engine.Limits;
import io.nightmill.engine.PromptLookup;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.engine.TokenScores;
import io.nightmill.kernels.HostBackend;
import io.nightmill.layers.StateCost;
import io.nightmill.runtime.SamplingJson;
import io.nightmill.tensor.KvType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A request's result, to the last bit, is the same alone and in any company, whatever the limits, threads and order. */
class BatchInvarianceTest {
    private static final Set<Integer> ENDS = Set.of(2, 77);
    private static final int COUNT = 30;

    @ParameterizedTest
    @ValueSource(
            strings = {
                "llama",
                "llama_dynamic",
                "gemma3_text",
                "qwen3_moe",
                "deepseek_v3",
                "gpt_oss_mxfp4",
                "mamba",
                "granitemoehybrid",
                "jamba",
                "zamba2",
                "qwen3_next",
                "kimi_linear",
                "minimax",
                "lfm2_moe",
                "recurrent_gemma",
                "rwkv6",
                "fla_rwkv7",
                "fla_gsa",
                "ttt_mlp"
            })
    void resultsDoNotDependOnCompany(String fixture) {
        List<Request> requests = requests(new Random(fixture.hashCode()), fixture.equals("rwkv6") ? 128 : 256);
        Map<String, String> alone = new TreeMap<>();
        for (Request request : requests) {
            alone.putAll(run(fixture, List.of(request), 1, new Limits(1 << 24, 64, 512), false));
        }
        assertThat(alone).hasSize(COUNT);
        assertThat(run(fixture, requests, 2, new Limits(1 << 24, 64, 512), false))
                .isEqualTo(alone);

        List<Request> shuffled = new ArrayList<>(requests);
        Collections.shuffle(shuffled, new Random(4));
        assertThat(run(fixture, shuffled, 3, new Limits(1 << 24, 5, 7), false)).isEqualTo(alone);
        // Memory for few of the longest requests: sequences are preempted and computed again. (Those of a dynamic rope
        // give
        // up their pages by themselves, whenever they grow.)
        assertThat(run(fixture, shuffled, 1, new Limits(tight(fixture), 12, 33), preempts(fixture)))
                .isEqualTo(alone);
    }

    /** Guesses are kept only where they are what the model says; keys and values are held in every form. */
    @ParameterizedTest
    @ValueSource(strings = {"llama", "llama_dynamic", "gemma3_text", "qwen3_moe", "deepseek_v3"})
    void guessingAheadChangesNothing(String fixture) {
        List<Request> requests = requests(new Random(fixture.hashCode()), 256);
        PromptLookup lookup = new PromptLookup(5, 3, 1);
        for (KvType type : KvType.values()) {
            Map<String, String> alone = new TreeMap<>();
            for (Request request : requests) {
                alone.putAll(run(fixture, List.of(request), 1, new Limits(1 << 24, type, 64, 512), false));
            }
            Limits wide = new Limits(1 << 24, type, 64, 512, lookup);
            assertThat(run(fixture, requests, 2, wide, false)).isEqualTo(alone);
            Limits tight = new Limits(tight(fixture), type, 12, 33, lookup);
            assertThat(run(fixture, requests, 1, tight, false)).isEqualTo(alone);
        }
        // A token a step, so that sequences stand before each of their tokens once.
        Map<String, String> slow = run(fixture, requests, 1, new Limits(1 << 24, KvType.F32, 64, 1), false);
        assertThat(run(fixture, requests, 1, new Limits(1 << 24, KvType.F32, 64, 1, lookup), false))
                .isEqualTo(slow);
    }

    /** So does a draft model, whether it is mostly right (the model itself) or mostly wrong. */
    @ParameterizedTest
    @CsvSource({
        "llama, llama",
        "qwen3_moe, llama",
        "llama_dynamic, gemma3_text",
        "gemma3_text, llama_dynamic",
        "deepseek_v3, qwen3_moe"
    })
    void draftingChangesNothing(String fixture, String draft) {
        List<Request> requests = new ArrayList<>(requests(new Random(fixture.hashCode()), 256));
        int[] header = new Random(6).ints(37, 0, 256).toArray();
        for (int i = 0; i < 6; i++) {
            int[] prompt = Arrays.copyOf(header, header.length + 1 + i);
            requests.add(
                    new Request("header " + i, prompt, generate("{\"max_tokens\":20}"), new int[] {header.length}));
        }
        DraftModel drafting = new DraftModel(draft, 3);
        Map<String, String> alone = run(fixture, requests, 1, new Limits(1 << 24, 64, 512), false);
        assertThat(alone).hasSize(COUNT + 6);
        assertThat(run(fixture, requests, 2, new Limits(1 << 24, KvType.F32, 64, 512, drafting), false))
                .isEqualTo(alone);
        // The draft's states take as many bytes again, so that the model's are as tight as without one.
        long bytes = tight(fixture) * 3 / 2 + tight(draft) * 3 / 2;
        assertThat(run(fixture, requests, 1, new Limits(bytes, KvType.F32, 12, 33, drafting), false))
                .isEqualTo(alone);
        assertThat(run(fixture, requests, 1, new Limits(1 << 24, KvType.F32, 64, 1, drafting), false))
                .isEqualTo(alone);
    }

    @Test
    void aModelGuessesItselfRight() {
        HostBackend backend = new HostBackend(1);
        Model model = load("llama", backend);
        Limits limits = new Limits(1 << 24, KvType.F32, 8, 64, new DraftModel("llama", 3));
        Draft draft = new Draft(model.decoder(), model.text().contextLength());
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, Set.of(), model.text().contextLength(), limits, draft)) {
            for (int i = 0; i < 5; i++) {
                engine.submit(new Request("row " + i, new int[] {5, 6, i}, generate("{\"max_tokens\":42}")));
            }
            while (!engine.idle()) {
                engine.step();
            }
            // The prompts, a token without guesses, and then four tokens a step.
            assertThat(engine.counters().steps()).isEqualTo(2 + 10);
            assertThat(engine.counters().completionTokens()).isEqualTo(5 * 42);
            assertThat(engine.counters().guessedTokens()).isEqualTo(5 * 30);
            assertThat(engine.counters().rightGuesses()).isEqualTo(5 * 30);
        }
    }

    @Test
    void refusesDraftsThatCannotGuess() {
        assertThatThrownBy(() -> run("llama", List.of(), 1, drafted("mamba"), false))
                .hasMessageContaining("a draft model with recurrent layers");
        assertThatThrownBy(() -> run("llama", List.of(), 1, drafted("rwkv6"), false))
                .hasMessageContaining("expected the same vocabulary");
    }

    private static Limits drafted(String draft) {
        return new Limits(1 << 24, KvType.F32, 8, 64, new DraftModel(draft, 3));
    }

    @Test
    void repeatedTextIsGuessedRight() {
        HostBackend backend = new HostBackend(1);
        Model model = load("llama", backend);
        Limits limits = new Limits(1 << 24, KvType.F32, 4, 64, new PromptLookup(4, 3, 1));
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, Set.of(), model.text().contextLength(), limits)) {
            // Greedy output of a tiny model soon runs in circles.
            engine.submit(new Request("row", new int[] {5, 6, 7}, generate("{\"max_tokens\":60}")));
            while (!engine.idle()) {
                engine.step();
            }
            assertThat(engine.counters().rightGuesses()).isPositive();
            assertThat(engine.counters().guessedTokens())
                    .isGreaterThanOrEqualTo(engine.counters().rightGuesses());
            assertThat(engine.counters().steps()).isLessThan(60);
            assertThat(engine.counters().completionTokens()).isEqualTo(60);
        }
    }

    private static long tight(String fixture) {
        Model model = load(fixture, new HostBackend(1));
        StateCost cost = StateCost.of(model.decoder().states(), KvType.F32);
        if (cost.perToken() == 0) {
            return 4 * cost.perSequence();
        }
        // Pages for 14 times 16 tokens, and as many bytes for slots.
        long pages = cost.perToken() * 16 * 14;
        return cost.perSequence() == 0 ? pages : Math.max(2 * pages, 12 * cost.perSequence());
    }

    /** Whether sequences must give up pages there: pages are short, and slots for six of them are not. */
    private static boolean preempts(String fixture) {
        StateCost cost =
                StateCost.of(load(fixture, new HostBackend(1)).decoder().states(), KvType.F32);
        long pages = cost.perToken() * 16 * 14;
        return pages > 0 && pages >= 6 * cost.perSequence() && !fixture.equals("llama_dynamic");
    }

    private static Model load(String fixture, HostBackend backend) {
        return ModelLoader.load(Golden.root().resolve(fixture), backend);
    }

    private static List<Request> requests(Random random, int vocabulary) {
        List<Request> requests = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            int[] prompt = random.ints(1 + random.nextInt(50), 0, vocabulary).toArray();
            requests.add(new Request("row " + i, prompt, ask(random, vocabulary)));
        }
        return requests;
    }

    private static Ask ask(Random random, int vocabulary) {
        return switch (random.nextInt(5)) {
            case 0 -> new Ask.Score(List.of(), random.nextInt(3));
            case 1 -> new Ask.Score(
                    List.of(
                            random.ints(1, 0, vocabulary).toArray(),
                            random.ints(9, 0, vocabulary).toArray()),
                    random.nextInt(2));
            case 2 -> generate("{\"max_tokens\":20,\"prompt_logprobs\":1,\"logprobs\":2}");
            case 3 -> generate("{\"max_tokens\":24,\"n\":3,\"temperature\":1.1,\"top_p\":0.9,\"top_k\":50,\"seed\":5,"
                    + "\"repetition_penalty\":1.2,\"min_tokens\":4}");
            default -> generate(
                    "{\"max_tokens\":30,\"temperature\":0.7,\"min_p\":0.05,\"frequency_penalty\":0.5,"
                            + "\"presence_penalty\":0.2,\"logit_bias\":{\"7\":3.5},\"ignore_eos\":true,\"stop_token_ids\":[9]}");
        };
    }

    private static Ask generate(String sampling) {
        return new Ask.Generate(SamplingJson.parse(sampling, null));
    }

    private static Map<String, String> run(
            String fixture, List<Request> requests, int threads, Limits limits, boolean preempts) {
        HostBackend backend = new HostBackend(threads);
        Model model = load(fixture, backend);
        Draft draft = null;
        if (limits.speculation() instanceof DraftModel named) {
            Model drafting = load(named.path(), backend);
            draft = new Draft(drafting.decoder(), drafting.text().contextLength());
        }
        Map<String, String> results = new TreeMap<>();
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, ENDS, model.text().contextLength(), limits, draft)) {
            requests.forEach(engine::submit);
            while (!engine.idle()) {
                engine.step()
                        .forEach(done -> assertThat(results.put(done.request().id(), describe(done)))
                                .isNull());
            }
            if (requests.stream().allMatch(request -> request.shared().length == 0)) {
                assertThat(engine.counters().freePages())
                        .as("pages given back")
                        .isEqualTo(engine.counters().pages());
            }
            assertThat(engine.counters().freeSlots())
                    .as("slots given back")
                    .isEqualTo(engine.counters().slots());
            if (preempts) {
                assertThat(engine.counters().preemptions()).isPositive();
            }
        }
        return results;
    }

    /** Everything but the times, floats by their bits. */
    private static String describe(Completion completion) {
        StringBuilder text = new StringBuilder().append(completion.failure()).append(bits(completion.prompt()));
        for (Completion.Output output : completion.outputs()) {
            text.append(output.index()).append(Arrays.toString(output.tokens()));
            text.append(output.finish()).append(output.stopReason()).append(bits(output.scores()));
        }
        return text.toString();
    }

    private static String bits(TokenScores scores) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; scores != null && i < scores.size(); i++) {
            text.append(' ')
                    .append(Float.floatToRawIntBits(scores.logprob(i)))
                    .append('/')
                    .append(scores.rank(i));
        }
        if (scores != null) {
            scores.tops()
                    .forEach(top -> text.append(Arrays.toString(top.tokens())).append(Arrays.toString(top.logprobs())));
        }
        return text.toString();
    }
}
