package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.TestSampling;
import io.nightmill.engine.Work;
import io.nightmill.kernels.HostBackend;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Steps that read and steps that decode are told apart. */
class WorkTest {
    @Test
    void everyTokenIsCountedOnce() {
        HostBackend backend = new HostBackend(1);
        Model model = ModelLoader.load(Golden.root().resolve("qwen3"), backend);
        try (ContinuousEngine engine =
                new ContinuousEngine(backend, model.decoder(), null, Set.of(), 64, new Limits(1 << 22, 8, 8))) {
            for (int i = 0; i < 3; i++) {
                int[] prompt = {i + 1, 2, 3, 4, 5};
                engine.submit(new Request("row " + i, prompt, new Request.Ask.Generate(TestSampling.greedy(6, null))));
            }
            while (!engine.idle()) {
                engine.step();
            }
            // 15 tokens of prompts in steps of 8, which decode what is read already; each row's first token comes of
            // reading.
            Work work = engine.counters().work();
            assertThat(work.prefill().count()).isEqualTo(2);
            assertThat(work.tokens()).isEqualTo(15 + 3 * 5);
            assertThat(work.prefill().tokens()).isBetween(15L, 17L);
            assertThat(work.steps()).isEqualTo(engine.counters().steps());
            assertThat(work.prefill().nanos()).isPositive();
            assertThat(work.decode().nanos()).isPositive();
            int[] scored = {1, 2, 3};
            engine.submit(new Request("score", new int[] {7, 8}, new Request.Ask.Score(List.of(scored), 0)));
            while (!engine.idle()) {
                engine.step();
            }
            Work after = engine.counters().work();
            assertThat(after.decode().count())
                    .as("a continuation is read")
                    .isEqualTo(work.decode().count());
            assertThat(after.tokens()).isGreaterThan(work.tokens());

            engine.submit(new Request(
                    "alone", new int[] {9, 8, 7, 6, 5}, new Request.Ask.Generate(TestSampling.greedy(6, null))));
            while (!engine.idle()) {
                engine.step();
            }
            Work alone = engine.counters().work().minus(after);
            assertThat(alone.prefill().tokens()).isEqualTo(5);
            assertThat(alone.decode().tokens()).isEqualTo(5);
            // float32 keys and values of two heads of 24 in three layers, of six to ten tokens.
            assertThat(alone.decode().stateBytes()).isEqualTo((6 + 7 + 8 + 9 + 10) * 3 * 2 * 2 * 24 * 4);
        }
    }
}
