package io.nightmill.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Draw;
import io.nightmill.kernels.Backend.Edit;
import io.nightmill.kernels.ReferenceBackend;
import io.nightmill.runtime.SamplingJson;
import io.nightmill.tensor.Tensor;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class SamplerTest {
    private static final float[] LOGITS = {1, 3, 2, 0, -1};

    private static int sample(
            String parameters, int[] tokens, int prompt, double uniform, Set<Integer> ends, List<int[]> banned) {
        Sampling sampling = SamplingJson.parse(parameters, null);
        Backend backend = new ReferenceBackend();
        Tensor plain = new Tensor(backend.allocate(2 * LOGITS.length), 0, 2, LOGITS.length);
        backend.upload(plain.rows(1, 1), LOGITS);
        Tensor edited = new Tensor(backend.allocate(LOGITS.length), 0, 1, LOGITS.length);
        Edit edit = Sampler.edit(1, LOGITS.length, sampling, tokens, tokens.length, prompt, ends, banned);
        backend.edit(edited, plain, List.of(edit));
        float[] logits = new float[LOGITS.length];
        backend.download(edited, logits);
        return draw(logits, sampling, uniform);
    }

    private static int draw(float[] logits, Sampling s, double uniform) {
        Backend backend = new ReferenceBackend();
        Tensor row = new Tensor(backend.allocate(logits.length), 0, 1, logits.length);
        backend.upload(row, logits);
        int[] token = new int[1];
        backend.sample(token, row, List.of(new Draw(0, s.temperature(), s.topK(), s.topP(), s.minP(), uniform)));
        return token[0];
    }

    private static int sample(String parameters) {
        return sample(parameters, new int[] {1}, 1, 0.999999, Set.of(), List.of());
    }

    @Test
    void greedyTakesTheMostLikely() {
        assertThat(sample("{}")).isEqualTo(1);
    }

    @Test
    void topKAndTopPAndMinPCutTheTail() {
        assertThat(sample("{\"temperature\":1}")).isEqualTo(4);
        assertThat(sample("{\"temperature\":1,\"top_k\":2}")).isEqualTo(2);
        assertThat(sample("{\"temperature\":1,\"top_p\":0.5}")).isEqualTo(1);
        // exp(-1) = 0.37 of the best is kept, exp(-2) = 0.14 is not.
        assertThat(sample("{\"temperature\":1,\"min_p\":0.2}")).isEqualTo(2);
    }

    @Test
    void drawsFollowTheDistribution() {
        int[] counts = new int[5];
        int draws = 200_000;
        Sampling sampling = SamplingJson.parse("{\"temperature\":0.8}", null);
        for (int i = 0; i < draws; i++) {
            double uniform = Sampler.uniform(3, "row", 0, i);
            counts[draw(LOGITS, sampling, uniform)]++;
        }
        double sum = 0;
        for (float logit : LOGITS) {
            sum += Math.exp(logit / 0.8);
        }
        for (int id = 0; id < 5; id++) {
            assertThat(counts[id] / (double) draws).isCloseTo(Math.exp(LOGITS[id] / 0.8) / sum, within(0.005));
        }
    }

    @Test
    void penaltiesLookAtWhatWasSaid() {
        // 3 / 1.6 < 2: token 1 was in the prompt.
        assertThat(sample("{\"repetition_penalty\":1.6}")).isEqualTo(2);
        // Presence and frequency look at the output alone.
        assertThat(sample("{\"presence_penalty\":1.5}")).isEqualTo(1);
        assertThat(sample("{\"presence_penalty\":1.5}", new int[] {1}, 0, 0, Set.of(), List.of()))
                .isEqualTo(2);
        assertThat(sample("{\"frequency_penalty\":0.6}", new int[] {1, 1}, 0, 0, Set.of(), List.of()))
                .isEqualTo(2);
    }

    @Test
    void biasesAndBansAndAllowedTokens() {
        assertThat(sample("{\"logit_bias\":{\"3\":10}}")).isEqualTo(3);
        assertThat(sample("{\"allowed_token_ids\":[0,4]}")).isZero();
        assertThat(sample("{\"min_tokens\":2}", new int[] {5}, 1, 0, Set.of(1), List.of()))
                .isEqualTo(2);
        assertThat(sample("{}", new int[] {9, 4}, 1, 0, Set.of(), List.of(new int[] {4, 1})))
                .isEqualTo(2);
        assertThat(sample("{}", new int[] {9, 4}, 2, 0, Set.of(), List.of(new int[] {4, 1})))
                .as("the prompt does not count")
                .isEqualTo(1);
    }

    @Test
    void streamsDifferByEverythingThatNamesThem() {
        double first = Sampler.uniform(1, "a", 0, 0);
        assertThat(first).isBetween(0.0, 1.0).isEqualTo(Sampler.uniform(1, "a", 0, 0));
        assertThat(Set.of(
                        first,
                        Sampler.uniform(2, "a", 0, 0),
                        Sampler.uniform(1, "b", 0, 0),
                        Sampler.uniform(1, "a", 1, 0),
                        Sampler.uniform(1, "a", 0, 1)))
                .hasSize(5);
    }

    @Test
    void parametersAreChecked() {
        assertThatThrownBy(() -> SamplingJson.parse("{\"temperature\":-1}", null))
                .hasMessage("Cannot use temperature -1.0: expected 0 or more");
        assertThatThrownBy(() -> SamplingJson.parse("{\"top_p\":1.5}", null)).hasMessageContaining("top_p 1.5");
        assertThatThrownBy(() -> SamplingJson.parse("{}", "{\"max_tokens\":\"many\"}"))
                .hasMessage("Cannot use max_tokens \"many\": expected an integer");
        assertThatThrownBy(() -> SamplingJson.parse("{\"tempreature\":1}", null))
                .hasMessageContaining("tempreature");
        assertThat(SamplingJson.parse("{\"max_tokens\":5}", "{\"max_tokens\":7,\"seed\":null}")
                        .maxTokens())
                .isEqualTo(7);
    }
}
