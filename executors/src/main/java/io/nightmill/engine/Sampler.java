package io.nightmill.engine;

import io.nightmill.kernels.Backend.Draw;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.stream.IntStream;

/** What a request does to its logits before a token is drawn from them, in vLLM's order: bans and biases, penalties. */
final class Sampler {
    private Sampler() {}

    /**
     * @param logits of the whole vocabulary; changed in place
     * @param tokens prompt and output so far
     * @param promptLength how many of them are the prompt
     * @param ends tokens that may not come before {@code min_tokens}
     * @param banned token sequences that may not be completed
     */
    static void edit(
            float[] logits,
            Sampling s,
            int[] tokens,
            int count,
            int promptLength,
            Set<Integer> ends,
            List<int[]> banned) {
        restrict(logits, s, tokens, count, promptLength, ends, banned);
        penalize(logits, s, tokens, count, promptLength);
    }

    /** How the token at a place of an output is drawn from a row of logits. */
    static Draw draw(int row, Sampling s, String id, int sample, int position) {
        double uniform = uniform(s.seed(), id, sample, position);
        return new Draw(row, s.temperature(), s.topK(), s.topP(), s.minP(), uniform);
    }

    private static void restrict(
            float[] logits,
            Sampling s,
            int[] tokens,
            int count,
            int promptLength,
            Set<Integer> ends,
            List<int[]> banned) {
        if (!s.allowedTokenIds().isEmpty()) {
            float[] kept = new float[logits.length];
            Arrays.fill(kept, Float.NEGATIVE_INFINITY);
            for (int id : s.allowedTokenIds()) {
                kept[id] = logits[id];
            }
            System.arraycopy(kept, 0, logits, 0, logits.length);
        }
        for (int[] words : banned) {
            if (endsWith(tokens, count, promptLength, words)) {
                logits[words[words.length - 1]] = Float.NEGATIVE_INFINITY;
            }
        }
        if (count - promptLength < s.minTokens()) {
            ends.forEach(id -> logits[id] = Float.NEGATIVE_INFINITY);
        }
        s.logitBias().forEach((id, bias) -> logits[id] += bias.floatValue());
    }

    /** Whether the output ends with all of {@code words} but the last. */
    private static boolean endsWith(int[] tokens, int count, int promptLength, int[] words) {
        int length = words.length - 1;
        return count - length >= promptLength
                && IntStream.range(0, length).allMatch(i -> tokens[count - length + i] == words[i]);
    }

    private static void penalize(float[] logits, Sampling s, int[] tokens, int count, int promptLength) {
        if (s.repetitionPenalty() != 1) {
            float penalty = (float) s.repetitionPenalty();
            // What a model puts before every prompt has no logit.
            IntStream.range(0, count)
                    .map(i -> tokens[i])
                    .filter(id -> id < logits.length)
                    .distinct()
                    .forEach(id -> {
                        logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
                    });
        }
        if (s.frequencyPenalty() != 0 || s.presencePenalty() != 0) {
            Map<Integer, Integer> counts = new HashMap<>();
            for (int i = promptLength; i < count; i++) {
                counts.merge(tokens[i], 1, Integer::sum);
            }
            counts.forEach((id, times) -> {
                logits[id] -= (float) (s.frequencyPenalty() * times);
                logits[id] -= (float) s.presencePenalty();
            });
        }
    }

    /** The {@code k} most likely tokens, best first; equal ones by id. */
    static int[] top(float[] logits, int k) {
        Comparator<Integer> worstFirst =
                Comparator.<Integer>comparingDouble(id -> logits[id]).thenComparing(Comparator.reverseOrder());
        PriorityQueue<Integer> heap = new PriorityQueue<>(worstFirst);
        for (int id = 0; id < logits.length; id++) {
            if (heap.size() < k) {
                heap.add(id);
            } else if (logits[id] > logits[heap.peek()]) {
                heap.poll();
                heap.add(id);
            }
        }
        int[] top = new int[heap.size()];
        for (int i = top.length - 1; i >= 0; i--) {
            top[i] = heap.poll();
        }
        return top;
    }

    /** A number in [0, 1) that depends on nothing but its arguments (SplitMix64's finalizer over each in turn). */
    static double uniform(long seed, String id, int sample, int position) {
        long h = mix(seed + 0x9e3779b97f4a7c15L);
        for (int i = 0; i < id.length(); i++) {
            h = mix(h + id.charAt(i));
        }
        h = mix(h + sample + 0x632be59bd9b4e019L);
        h = mix(h + position);
        return (h >>> 11) * 0x1p-53;
    }

    private static long mix(long value) {
        long z = (value ^ value >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }
}
