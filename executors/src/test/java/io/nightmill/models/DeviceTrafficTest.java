package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.Sampling;
import io.nightmill.engine.TestSampling;
import io.nightmill.kernels.gpu.Device;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.runtime.SamplingJson;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What goes between host and device while tokens are decoded: which tokens, where their pages are, and what was chosen. */
class DeviceTrafficTest {
    private static final int ROWS = 5;
    private static final int STEPS = 8;

    @ParameterizedTest
    @ValueSource(strings = {"qwen3", "qwen3_moe", "mamba2", "granitemoehybrid", "deepseek_v3", "qwen3_next"})
    void aStepMovesTokensOnly(String fixture) {
        check(fixture, TestSampling.greedy(40, null), 0, 0);
    }

    /** Four numbers of a rule and two of a draw go there, and a token more comes back. */
    @Test
    void sampledTokensAreDrawnThere() {
        check("qwen3", "{\"max_tokens\":40,\"temperature\":1,\"top_p\":0.9,\"top_k\":20}", 6, 1);
    }

    /** Besides a draw, seven numbers of each token that a penalty names, and two of the row. */
    @Test
    void penalizedLogitsStayThere() {
        check("qwen3", "{\"max_tokens\":40,\"presence_penalty\":0.5}", 6 + 2 + 7 * (STEPS + 3), 1);
    }

    /** A token and its log-probability for each alternative. */
    @Test
    void alternativesAreFoundThere() {
        check("qwen3", "{\"max_tokens\":40,\"logprobs\":3}", 0, 6);
    }

    private static void check(String fixture, String parameters, int moreWritten, int moreRead) {
        check(fixture, SamplingJson.parse(parameters, "{\"ignore_eos\":true}"), moreWritten, moreRead);
    }

    /** @param more numbers per row and step, to the device and from it */
    private static void check(String fixture, Sampling sampling, int moreWritten, int moreRead) {
        GpuBackend backend = new GpuBackend(OpenClDevice.open(0));
        Model model = ModelLoader.load(Golden.root().resolve(fixture), backend);
        Limits limits = new Limits(1 << 22, ROWS, 64);
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, model.decoder(), null, Set.of(), model.text().contextLength(), limits)) {
            for (int i = 0; i < ROWS; i++) {
                engine.submit(new Request("row " + i, new int[] {3, 4 + i}, new Request.Ask.Generate(sampling)));
            }
            engine.step();
            engine.step();
            Device.Traffic before = backend.traffic();
            for (int i = 0; i < STEPS; i++) {
                engine.step();
            }
            Device.Traffic after = backend.traffic();
            // Per row: its id, two numbers of its token, five of its sequence, a few pages, the row of its logits, its
            // target. Per step, the frequencies of its rotary tables.
            int frequencies = model.decoder().ropes().stream()
                    .mapToInt(rope -> rope.rotary() / 2)
                    .sum();
            int written = 4 * ROWS * (1 + 2 + 5 + 4 + 1 + 1 + moreWritten) + 4 * frequencies;
            assertThat((after.written() - before.written()) / STEPS).isLessThanOrEqualTo(written);
            assertThat(after.read() - before.read())
                    .as("a token, its log-probability, its rank")
                    .isEqualTo((12L + 4L * moreRead) * STEPS * ROWS);
            assertThat(after.parameters() - before.parameters())
                    .as("a step like the last repeats its launches as they were recorded")
                    .isLessThan((after.launches() - before.launches()) / 4);
        }
    }
}
