package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;

/** From the values of all documents to a figure, by the harness's names, with its standard error. */
enum Aggregation {
    MEAN("mean", false, items -> {
        double[] values = numbers(items);
        return picks -> sum(values, picks) / picks.length;
    }),
    NANMEAN("nanmean", true, items -> {
        double[] values = numbers(items);
        return picks -> {
            double[] there = Arrays.stream(picks)
                    .mapToDouble(i -> values[i])
                    .filter(v -> !Double.isNaN(v))
                    .toArray();
            return there.length == 0 ? Double.NaN : Arrays.stream(there).sum() / there.length;
        };
    }),
    MEDIAN("median", true, items -> {
        double[] values = numbers(items);
        return picks -> {
            double[] sorted =
                    Arrays.stream(picks).mapToDouble(i -> values[i]).sorted().toArray();
            return sorted[sorted.length / 2];
        };
    }),
    PERPLEXITY("perplexity", true, items -> {
        double[] values = numbers(items);
        return picks -> Math.exp(-sum(values, picks) / picks.length);
    }),
    WEIGHTED_PERPLEXITY("weighted_perplexity", false, items -> {
        double[] values = column(items, 0);
        double[] weights = column(items, 1);
        return picks -> Math.exp(-sum(values, picks) / sum(weights, picks));
    }),
    BITS_PER_BYTE("bits_per_byte", false, items -> {
        double[] values = column(items, 0);
        double[] weights = column(items, 1);
        return picks -> -sum(values, picks) / sum(weights, picks) / Math.log(2);
    }),
    F1("f1", true, Aggregation::f1),
    MATTHEWS("matthews_corrcoef", true, Aggregation::matthews),
    BLEU("bleu", true, TextScores::bleu),
    CHRF("chrf", true, TextScores::chrf),
    CHRF_PLUS_PLUS("chrf++", true, TextScores::chrfPlusPlus),
    TER("ter", true, TextScores::ter),
    BRIER_SCORE("brier_score", false, items -> {
        double[] scores = items.stream().mapToDouble(Aggregation::brier).toArray();
        return picks -> sum(scores, picks) / picks.length;
    }),
    BYPASS("bypass", false, items -> picks -> 999);

    private static final int CHUNK = 1000;

    final String label;
    private final boolean bootstraps;
    /** Of the items, and then of any picks of them. */
    private final Function<List<JsonNode>, ToDoubleFunction<int[]>> statistic;

    Aggregation(String label, boolean bootstraps, Function<List<JsonNode>, ToDoubleFunction<int[]>> statistic) {
        this.label = label;
        this.bootstraps = bootstraps;
        this.statistic = statistic;
    }

    /** @throws IllegalArgumentException naming it, if there is no such aggregation */
    static Aggregation of(String name) {
        for (Aggregation aggregation : values()) {
            if (aggregation.label.equals(name)) {
                return aggregation;
            }
        }
        throw new IllegalArgumentException("the aggregation '%s' is not one of %s"
                .formatted(name, Arrays.stream(values()).map(a -> a.label).toList()));
    }

    double of(List<JsonNode> items) {
        return statistic.apply(items).applyAsDouble(all(items));
    }

    private static int[] all(List<JsonNode> items) {
        return IntStream.range(0, items.size()).toArray();
    }

    /**
     * The standard error: in closed form for means, by bootstrap where the harness has it so, NaN for the rest and for fewer than two
     * items.
     *
     * @param iterations of the bootstrap, in chunks of 1,000 that draw from CPython's generator seeded by the chunk's number; 0 for no
     *     standard error of any kind
     */
    double standardError(List<JsonNode> items, int iterations) {
        if (items.size() < 2 || iterations <= 0) {
            return Double.NaN;
        }
        if (this == MEAN) {
            return deviation(numbers(items)) / Math.sqrt(items.size());
        }
        // Each resample of a corpus metric is costly; the harness takes few.
        boolean isCorpus = this == BLEU || this == CHRF || this == CHRF_PLUS_PLUS || this == TER;
        int all = isCorpus ? Math.min(iterations, 100) : iterations;
        if (!bootstraps) {
            return Double.NaN;
        }
        int chunk = Math.min(CHUNK, all);
        ToDoubleFunction<int[]> figure = statistic.apply(items);
        double[] figures = IntStream.range(0, all / chunk)
                .parallel()
                .mapToObj(seed -> {
                    PythonRandom random = new PythonRandom(seed);
                    double[] drawn = new double[chunk];
                    for (int i = 0; i < chunk; i++) {
                        drawn[i] = figure.applyAsDouble(random.choices(items.size(), items.size()));
                    }
                    return drawn;
                })
                .flatMapToDouble(Arrays::stream)
                .toArray();
        return deviation(figures);
    }

    /** Of a sample. */
    static double deviation(double[] values) {
        double mean = Arrays.stream(values).sum() / values.length;
        double squares = 0;
        for (double value : values) {
            squares += (value - mean) * (value - mean);
        }
        return Math.sqrt(squares / (values.length - 1));
    }

    private static double sum(double[] values, int[] picks) {
        double sum = 0;
        for (int pick : picks) {
            sum += values[pick];
        }
        return sum;
    }

    private static double[] numbers(List<JsonNode> items) {
        return items.stream().mapToDouble(JsonNode::asDouble).toArray();
    }

    private static double[] column(List<JsonNode> items, int at) {
        return items.stream().mapToDouble(item -> item.get(at).doubleValue()).toArray();
    }

    private static double brier(JsonNode item) {
        int gold = item.get(0).intValue();
        double sum = 0;
        for (int i = 0; i < item.get(1).size(); i++) {
            double error = item.get(1).get(i).doubleValue() - (i == gold ? 1 : 0);
            sum += error * error;
        }
        return sum;
    }

    /** Of two classes, of which 1 is the positive one. */
    private static ToDoubleFunction<int[]> f1(List<JsonNode> items) {
        int[] gold = classes(items, 0);
        int[] predicted = classes(items, 1);
        for (int i = 0; i < gold.length; i++) {
            if (gold[i] > 1 || predicted[i] > 1) {
                throw new IllegalArgumentException("f1 is of two classes, and there are more");
            }
        }
        return picks -> {
            int both = 0;
            int either = 0;
            for (int pick : picks) {
                both += gold[pick] * predicted[pick];
                either += gold[pick] + predicted[pick];
            }
            return either == 0 ? 0 : 2.0 * both / either;
        };
    }

    /** Matthews' correlation for any number of classes (Gorodkin, 2004). */
    private static ToDoubleFunction<int[]> matthews(List<JsonNode> items) {
        int[] gold = classes(items, 0);
        int[] predicted = classes(items, 1);
        int count = IntStream.concat(Arrays.stream(gold), Arrays.stream(predicted))
                        .max()
                        .orElse(0)
                + 1;
        return picks -> {
            double[] truth = new double[count];
            double[] guess = new double[count];
            double right = 0;
            for (int pick : picks) {
                truth[gold[pick]]++;
                guess[predicted[pick]]++;
                right += gold[pick] == predicted[pick] ? 1 : 0;
            }
            double n = picks.length;
            double cross = 0;
            double truths = 0;
            double guesses = 0;
            for (int k = 0; k < count; k++) {
                cross += truth[k] * guess[k];
                truths += truth[k] * truth[k];
                guesses += guess[k] * guess[k];
            }
            double product = (n * n - guesses) * (n * n - truths);
            return product == 0 ? 0 : (right * n - cross) / Math.sqrt(product);
        };
    }

    /** Labels as numbers from 0; texts in the order of their letters. */
    private static int[] classes(List<JsonNode> items, int at) {
        if (items.stream().allMatch(item -> item.get(at).isIntegralNumber())) {
            return items.stream()
                    .mapToInt(item -> Math.max(0, item.get(at).intValue()))
                    .toArray();
        }
        Map<String, Integer> known = new TreeMap<>();
        items.forEach(item -> item.forEach(label -> known.put(Python.str(label), 0)));
        List<String> order = new ArrayList<>(known.keySet());
        return items.stream()
                .mapToInt(item -> order.indexOf(Python.str(item.get(at))))
                .toArray();
    }
}
