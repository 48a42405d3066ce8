package io.nightmill.engine;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Sampling parameters for tests: the defaults, but for what a test is about. */
public final class TestSampling {
    private TestSampling() {}

    public static Sampling greedy(int maxTokens, @Nullable Integer logprobs) {
        return of(1, 0, maxTokens, 0, logprobs);
    }

    public static Sampling of(int n, double temperature, int maxTokens, long seed, @Nullable Integer logprobs) {
        return new Sampling(
                n,
                temperature,
                1,
                0,
                0,
                1,
                0,
                0,
                Map.of(),
                List.of(),
                List.of(),
                true,
                maxTokens,
                0,
                seed,
                logprobs,
                null,
                true,
                false,
                List.of(),
                List.of());
    }
}
