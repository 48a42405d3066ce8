package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import java.util.regex.Pattern;

/**
 * BLEU, chrF and TER of a corpus as sacrebleu computes them by default. An item is {@code [references, answer]}; what each adds to
 * the sums is counted once, so that resampling is cheap.
 */
final class TextScores {
    private static final int ORDER = 4;
    private static final int CHARACTERS = 6;

    private TextScores() {}

    private static List<String> references(JsonNode item) {
        List<String> references = new ArrayList<>();
        (item.get(0).isArray() ? item.get(0) : List.of(item.get(0))).forEach(one -> references.add(Python.str(one)));
        return references;
    }

    private static String answer(JsonNode item) {
        JsonNode answer = item.get(1);
        return Python.str(answer.isArray() ? answer.get(0) : answer);
    }

    private static double[] sums(double[][] counts, int[] picks) {
        double[] sums = new double[counts.length == 0 ? 0 : counts[0].length];
        for (int pick : picks) {
            for (int i = 0; i < sums.length; i++) {
                sums[i] += counts[pick][i];
            }
        }
        return sums;
    }

    // ---- BLEU (Papineni et al., 2002; Post, 2018): tokens of mteval-v13a, exponential smoothing

    static ToDoubleFunction<int[]> bleu(List<JsonNode> items) {
        double[][] counts = items.stream().map(TextScores::bleuCounts).toArray(double[][]::new);
        return picks -> bleuOf(sums(counts, picks));
    }

    /** Matches and totals of each order, and the lengths of answer and nearest reference. */
    private static double[] bleuCounts(JsonNode item) {
        String[] answer = tokens13a(answer(item));
        List<String[]> references =
                references(item).stream().map(TextScores::tokens13a).toList();
        double[] counts = new double[2 * ORDER + 2];
        for (int n = 1; n <= ORDER; n++) {
            Map<List<String>, Integer> most = new HashMap<>();
            for (String[] reference : references) {
                ngrams(reference, n).forEach((gram, count) -> most.merge(gram, count, Math::max));
            }
            for (var gram : ngrams(answer, n).entrySet()) {
                counts[n - 1] += Math.min(gram.getValue(), most.getOrDefault(gram.getKey(), 0));
                counts[ORDER + n - 1] += gram.getValue();
            }
        }
        counts[2 * ORDER] = answer.length;
        counts[2 * ORDER + 1] = references.stream()
                .map(reference -> reference.length)
                .min(Comparator.<Integer>comparingInt(length -> Math.abs(length - answer.length))
                        .thenComparing(length -> length))
                .orElse(0);
        return counts;
    }

    private static Map<List<String>, Integer> ngrams(String[] tokens, int n) {
        Map<List<String>, Integer> grams = new LinkedHashMap<>();
        for (int i = 0; i + n <= tokens.length; i++) {
            grams.merge(Arrays.asList(tokens).subList(i, i + n), 1, Integer::sum);
        }
        return grams;
    }

    private static double bleuOf(double[] sums) {
        double logs = 0;
        double smooth = 1;
        boolean any = false;
        for (int n = 0; n < ORDER; n++) {
            double total = sums[ORDER + n];
            any |= sums[n] > 0;
            if (total == 0) {
                logs = Double.NEGATIVE_INFINITY;
            } else if (sums[n] == 0) {
                smooth *= 2;
                logs += Math.log(100 / (smooth * total));
            } else {
                logs += Math.log(100 * sums[n] / total);
            }
        }
        if (!any) {
            return 0;
        }
        double length = sums[2 * ORDER];
        double reference = sums[2 * ORDER + 1];
        double brevity = length >= reference ? 1 : Math.exp(1 - reference / length);
        return brevity * Math.exp(logs / ORDER);
    }

    private static final List<Map.Entry<Pattern, String>> RULES_13A = List.of(
            Map.entry(Pattern.compile("([\\{-\\~\\[-\\` -\\&\\(-\\+\\:-\\@\\/])"), " $1 "),
            Map.entry(Pattern.compile("([^0-9])([\\.,])"), "$1 $2 "),
            Map.entry(Pattern.compile("([\\.,])([^0-9])"), " $1 $2"),
            Map.entry(Pattern.compile("([0-9])(-)"), "$1 $2 "));

    static String[] tokens13a(String text) {
        String line = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ");
        line = line.replace("&quot;", "\"")
                .replace("&amp;", "&")
                .replace("&lt;", "<")
                .replace("&gt;", ">");
        line = " " + line + " ";
        for (var rule : RULES_13A) {
            line = rule.getKey().matcher(line).replaceAll(rule.getValue());
        }
        return words(line);
    }

    private static String[] words(String text) {
        String stripped = Python.strip(text);
        return stripped.isEmpty() ? new String[0] : Metric.SPACES.split(stripped);
    }

    // ---- chrF (Popović, 2015): characters without spaces, orders 1 to 6, beta 2; chrF++ (2017) has words of orders 1
    // and 2 besides

    static ToDoubleFunction<int[]> chrf(List<JsonNode> items) {
        return chrf(items, 0);
    }

    static ToDoubleFunction<int[]> chrfPlusPlus(List<JsonNode> items) {
        return chrf(items, 2);
    }

    private static ToDoubleFunction<int[]> chrf(List<JsonNode> items, int wordOrders) {
        double[][] counts =
                items.stream().map(item -> chrfCounts(item, wordOrders)).toArray(double[][]::new);
        return picks -> chrfOf(sums(counts, picks));
    }

    /** N-grams of the answer, of the reference that suits it best, and in both, for each order of characters and of words. */
    private static double[] chrfCounts(JsonNode item, int wordOrders) {
        double[] best = new double[3 * (CHARACTERS + wordOrders)];
        double bestScore = -1;
        String[] letters = characters(answer(item));
        String[] words = apart(answer(item));
        for (String reference : references(item)) {
            double[] counts = new double[best.length];
            String[] wantedLetters = characters(reference);
            String[] wantedWords = apart(reference);
            for (int n = 1; n <= CHARACTERS; n++) {
                count(counts, n - 1, ngrams(letters, n), ngrams(wantedLetters, n));
            }
            for (int n = 1; n <= wordOrders; n++) {
                int at = CHARACTERS + n - 1;
                count(counts, at, ngrams(words, n), ngrams(wantedWords, n));
            }
            double score = chrfOf(counts);
            if (score > bestScore) {
                best = counts;
                bestScore = score;
            }
        }
        return best;
    }

    private static void count(
            double[] counts, int order, Map<List<String>, Integer> given, Map<List<String>, Integer> wanted) {
        counts[3 * order] = wanted.isEmpty() ? 0 : total(given);
        counts[3 * order + 1] = total(wanted);
        given.forEach((gram, count) -> counts[3 * order + 2] += Math.min(count, wanted.getOrDefault(gram, 0)));
    }

    /** Words, a mark of punctuation at a word's end, or else at its beginning, by itself. */
    private static String[] apart(String text) {
        List<String> parts = new ArrayList<>();
        for (String word : words(text)) {
            int last = word.length() - 1;
            if (last > 0 && Python.isPunctuation(word.charAt(last))) {
                parts.addAll(List.of(word.substring(0, last), word.substring(last)));
            } else if (last > 0 && Python.isPunctuation(word.charAt(0))) {
                parts.addAll(List.of(word.substring(0, 1), word.substring(1)));
            } else {
                parts.add(word);
            }
        }
        return parts.toArray(new String[0]);
    }

    private static String[] characters(String text) {
        return Metric.SPACES
                .matcher(text)
                .replaceAll("")
                .codePoints()
                .mapToObj(Character::toString)
                .toArray(String[]::new);
    }

    private static int total(Map<List<String>, Integer> grams) {
        return grams.values().stream().mapToInt(Integer::intValue).sum();
    }

    private static double chrfOf(double[] sums) {
        double precision = 0;
        double recall = 0;
        int orders = 0;
        for (int n = 0; n < sums.length / 3; n++) {
            if (sums[3 * n] > 0 && sums[3 * n + 1] > 0) {
                precision += sums[3 * n + 2] / sums[3 * n];
                recall += sums[3 * n + 2] / sums[3 * n + 1];
                orders++;
            }
        }
        if (orders == 0 || precision + recall == 0) {
            return 0;
        }
        precision /= orders;
        recall /= orders;
        return 100 * 5 * precision * recall / (4 * precision + recall);
    }

    // ---- TER (Snover et al., 2006), as Tercom searches

    static ToDoubleFunction<int[]> ter(List<JsonNode> items) {
        double[][] counts = items.stream().map(TextScores::terCounts).toArray(double[][]::new);
        return picks -> {
            double[] sums = sums(counts, picks);
            return sums[1] > 0 ? 100 * sums[0] / sums[1] : sums[0] > 0 ? 100 : 0;
        };
    }

    /** The fewest edits to any reference, and the references' mean length. */
    private static double[] terCounts(JsonNode item) {
        String[] answer = words(answer(item).toLowerCase(Locale.ROOT));
        double fewest = Double.POSITIVE_INFINITY;
        double lengths = 0;
        List<String> references = references(item);
        for (String reference : references) {
            String[] words = words(reference.toLowerCase(Locale.ROOT));
            fewest = Math.min(fewest, new EditRate(words).edits(answer));
            lengths += words.length;
        }
        return new double[] {fewest, lengths / references.size()};
    }
}
