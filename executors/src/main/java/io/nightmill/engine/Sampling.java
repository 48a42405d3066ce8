package io.nightmill.engine;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * How tokens are chosen: vLLM's {@code SamplingParams}, by its names, meanings and limits.
 *
 * @param n outputs per prompt
 * @param temperature 0 is greedy
 * @param topK the so many most likely tokens; 0 or -1 is all
 * @param seed with the row's id and the output's index it fixes the random stream
 * @param logprobs alternatives to report per generated token (0: the token alone), or null for none
 * @param promptLogprobs the same for the prompt
 * @param badWords strings whose token sequences are never completed
 * @param allowedTokenIds if not empty, the only tokens that may be chosen
 */
public record Sampling(
        int n,
        double temperature,
        double topP,
        int topK,
        double minP,
        double repetitionPenalty,
        double presencePenalty,
        double frequencyPenalty,
        Map<Integer, Double> logitBias,
        List<String> stop,
        List<Integer> stopTokenIds,
        boolean ignoreEos,
        int maxTokens,
        int minTokens,
        long seed,
        @Nullable Integer logprobs,
        @Nullable Integer promptLogprobs,
        boolean skipSpecialTokens,
        boolean includeStopStrInOutput,
        List<String> badWords,
        List<Integer> allowedTokenIds) {

    public Sampling {
        require(n >= 1, "n", n, "at least 1");
        require(temperature >= 0 && temperature <= Float.MAX_VALUE, "temperature", temperature, "0 or more");
        require(topP > 0 && topP <= 1, "top_p", topP, "in (0, 1]");
        require(topK >= -1, "top_k", topK, "-1 or 0 (all), or at least 1");
        require(minP >= 0 && minP <= 1, "min_p", minP, "in [0, 1]");
        require(repetitionPenalty > 0 && repetitionPenalty <= 2, "repetition_penalty", repetitionPenalty, "in (0, 2]");
        require(Math.abs(presencePenalty) <= 2, "presence_penalty", presencePenalty, "in [-2, 2]");
        require(Math.abs(frequencyPenalty) <= 2, "frequency_penalty", frequencyPenalty, "in [-2, 2]");
        require(maxTokens >= 1, "max_tokens", maxTokens, "at least 1");
        require(minTokens >= 0 && minTokens <= maxTokens, "min_tokens", minTokens, "between 0 and max_tokens");
        require(logprobs == null || logprobs >= -1, "logprobs", logprobs, "-1 (all) or more");
        require(promptLogprobs == null || promptLogprobs >= -1, "prompt_logprobs", promptLogprobs, "-1 (all) or more");
        require(stop.stream().noneMatch(String::isEmpty), "stop", stop, "strings that are not empty");
        require(badWords.stream().noneMatch(String::isEmpty), "bad_words", badWords, "strings that are not empty");
        require(
                logitBias.values().stream().allMatch(bias -> Math.abs(bias) <= 100),
                "logit_bias",
                logitBias,
                "values in [-100, 100]");
    }

    private static void require(boolean holds, String name, @Nullable Object value, String expected) {
        if (!holds) {
            throw new IllegalArgumentException("Cannot use %s %s: expected %s".formatted(name, value, expected));
        }
    }

    /** Whether the choice is always the most likely token of the raw logits. */
    boolean isPlainGreedy() {
        return temperature == 0 && !edits();
    }

    /** Whether the logits change before a token is drawn. */
    boolean edits() {
        return repetitionPenalty != 1
                || presencePenalty != 0
                || frequencyPenalty != 0
                || !logitBias.isEmpty()
                || minTokens > 0
                || !badWords.isEmpty()
                || !allowedTokenIds.isEmpty();
    }
}
