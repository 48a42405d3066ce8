package io.nightmill.engine;

import io.nightmill.engine.ContinuousEngine.Reading;
import io.nightmill.engine.Request.Ask;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Draw;
import io.nightmill.kernels.Backend.Edit;
import io.nightmill.layers.Scratch;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;

/** Draws tokens from what requests make of their logits, in vLLM's order: bans and biases, penalties, then {@link Backend#sample}. */
final class Sampler {
    /** Places in a token's rule; see {@link Edit}. */
    private static final int SHIFT = 0;

    private static final int PENALTY = 1;
    private static final int LESS = 2;
    private static final int MORE = 3;

    private final Backend backend;
    private final Scratch scratch;

    Sampler(Backend backend, Scratch scratch) {
        this.backend = backend;
        this.scratch = scratch;
    }

    /** What is drawn for an output that begins or goes on at a reading. */
    private record Asked(int reading, int output, Draw draw) {}

    /** An edit as it is put together. */
    private static final class Rules {
        final TreeMap<Integer, float[]> byId = new TreeMap<>();

        float[] of(int id) {
            return byId.computeIfAbsent(id, key -> new float[] {0, 1, 0, 0});
        }

        Edit edit(int row, boolean only, int vocabulary) {
            SortedMap<Integer, float[]> known = byId.headMap(vocabulary);
            int[] ids = new int[known.size()];
            float[] all = new float[4 * ids.length];
            int i = 0;
            for (Map.Entry<Integer, float[]> rule : known.entrySet()) {
                ids[i] = rule.getKey();
                System.arraycopy(rule.getValue(), 0, all, 4 * i++, 4);
            }
            return new Edit(row, only, ids, all);
        }
    }

    /**
     * Draws a token for each output that does not simply take the likeliest.
     *
     * @param logits a row for each reading
     * @return {@code [readings][outputs]}
     */
    int[][] draw(List<Reading> readings, int[] targets, Tensor logits) {
        int[][] drawn = new int[readings.size()][0];
        List<Asked> plain = new ArrayList<>();
        List<Asked> edited = new ArrayList<>();
        List<Integer> editedRows = new ArrayList<>();
        for (int i = 0; i < drawn.length; i++) {
            Sequence s = readings.get(i).sequence();
            Sampling sampling = s.job.request.ask() instanceof Ask.Generate generate ? generate.sampling() : null;
            if (targets[i] >= 0 || sampling == null || sampling.isPlainGreedy()) {
                continue;
            }
            int row = sampling.edits() ? editedRows.size() : i;
            if (sampling.edits()) {
                editedRows.add(i);
            }
            int place = readings.get(i).position() + 1 - s.promptLength;
            drawn[i] = new int[s.index < 0 ? s.job.outputs.length : 1];
            for (int output = 0; output < drawn[i].length; output++) {
                Draw draw = draw(row, sampling, s.job.request.id(), Math.max(0, s.index) + output, place);
                (sampling.edits() ? edited : plain).add(new Asked(i, output, draw));
            }
        }
        take(plain, logits, drawn);
        if (!edited.isEmpty()) {
            take(edited, edit(readings, editedRows, logits), drawn);
        }
        return drawn;
    }

    private void take(List<Asked> asked, Tensor logits, int[][] drawn) {
        int[] tokens = new int[asked.size()];
        if (tokens.length > 0) {
            backend.sample(tokens, logits, asked.stream().map(Asked::draw).toList());
        }
        for (int k = 0; k < tokens.length; k++) {
            drawn[asked.get(k).reading][asked.get(k).output] = tokens[k];
        }
    }

    /**
     * Rows of logits as their requests change them.
     *
     * @param rows of the logits, which are those of the readings
     */
    private Tensor edit(List<Reading> readings, List<Integer> rows, Tensor logits) {
        Tensor edited = scratch.tensor(rows.size(), logits.width());
        List<Edit> edits = new ArrayList<>();
        for (int row : rows) {
            Reading reading = readings.get(row);
            Sequence s = reading.sequence();
            Sampling sampling = ((Ask.Generate) s.job.request.ask()).sampling();
            int count = reading.position() + 1;
            edits.add(edit(row, logits.width(), sampling, s.tokens, count, s.promptLength, s.job.ends, s.job.banned));
        }
        backend.edit(edited, logits, edits);
        return edited;
    }

    /**
     * What a request makes of a row of logits.
     *
     * @param vocabulary ids from here on have no logit: what a model puts before every prompt, for one
     * @param tokens prompt and output so far
     * @param promptLength how many of them are the prompt
     * @param ends tokens that may not come before {@code min_tokens}
     * @param banned token sequences that may not be completed
     */
    static Edit edit(
            int row,
            int vocabulary,
            Sampling s,
            int[] tokens,
            int count,
            int promptLength,
            Set<Integer> ends,
            List<int[]> banned) {
        Rules rules = new Rules();
        s.allowedTokenIds().forEach(rules::of);
        s.logitBias().forEach((id, bias) -> rules.of(id)[SHIFT] = bias.floatValue());
        for (int[] words : banned) {
            if (endsWith(tokens, count, promptLength, words)) {
                rules.of(words[words.length - 1])[SHIFT] = Float.NEGATIVE_INFINITY;
            }
        }
        if (count - promptLength < s.minTokens()) {
            ends.forEach(id -> rules.of(id)[SHIFT] = Float.NEGATIVE_INFINITY);
        }
        if (s.repetitionPenalty() != 1) {
            IntStream.range(0, count)
                    .map(i -> tokens[i])
                    .forEach(id -> rules.of(id)[PENALTY] = (float) s.repetitionPenalty());
        }
        if (s.frequencyPenalty() != 0 || s.presencePenalty() != 0) {
            Map<Integer, Integer> counts = new HashMap<>();
            for (int i = promptLength; i < count; i++) {
                counts.merge(tokens[i], 1, Integer::sum);
            }
            counts.forEach((id, times) -> {
                rules.of(id)[LESS] = (float) (s.frequencyPenalty() * times);
                rules.of(id)[MORE] = (float) s.presencePenalty();
            });
        }
        boolean only = !s.allowedTokenIds().isEmpty();
        if (only) {
            rules.byId.keySet().retainAll(new HashSet<>(s.allowedTokenIds()));
        }
        return rules.edit(row, only, vocabulary);
    }

    /** How the token at a place of an output is drawn from a row of logits. */
    private static Draw draw(int row, Sampling s, String id, int sample, int position) {
        double uniform = uniform(s.seed(), id, sample, position);
        return new Draw(row, s.temperature(), s.topK(), s.topP(), s.minP(), uniform);
    }

    /** Whether the output ends with all of {@code words} but the last. */
    private static boolean endsWith(int[] tokens, int count, int promptLength, int[] words) {
        int length = words.length - 1;
        return count - length >= promptLength
                && IntStream.range(0, length).allMatch(i -> tokens[count - length + i] == words[i]);
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
