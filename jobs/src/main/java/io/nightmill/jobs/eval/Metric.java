package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.MetricConfig;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What one document's answers are worth, by metric, as the harness's {@code process_results} says. */
final class Metric {
    private static final JsonNodeFactory MAKE = JsonNodeFactory.instance;
    static final Pattern SPACES = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);

    /** The harness's registry: how a metric is aggregated, and whether more of it is better. */
    enum Kind {
        ACC("acc", Aggregation.MEAN, true),
        ACC_NORM("acc_norm", Aggregation.MEAN, true),
        ACC_BYTES("acc_bytes", Aggregation.MEAN, true),
        ACC_MUTUAL_INFO("acc_mutual_info", Aggregation.MEAN, true),
        EXACT_MATCH("exact_match", Aggregation.MEAN, true),
        PERPLEXITY("perplexity", Aggregation.PERPLEXITY, false),
        WORD_PERPLEXITY("word_perplexity", Aggregation.WEIGHTED_PERPLEXITY, false),
        BYTE_PERPLEXITY("byte_perplexity", Aggregation.WEIGHTED_PERPLEXITY, false),
        BITS_PER_BYTE("bits_per_byte", Aggregation.BITS_PER_BYTE, false),
        F1("f1", Aggregation.F1, true),
        MCC("mcc", Aggregation.MATTHEWS, true),
        BLEU("bleu", Aggregation.BLEU, true),
        CHRF("chrf", Aggregation.CHRF, true),
        CHRF_PLUS_PLUS("chrf++", Aggregation.CHRF_PLUS_PLUS, true),
        TER("ter", Aggregation.TER, true),
        BRIER_SCORE("brier_score", Aggregation.BRIER_SCORE, false),
        BYPASS("bypass", Aggregation.BYPASS, true);

        final String label;
        final Aggregation aggregation;
        final boolean higherIsBetter;

        Kind(String label, Aggregation aggregation, boolean higherIsBetter) {
            this.label = label;
            this.aggregation = aggregation;
            this.higherIsBetter = higherIsBetter;
        }

        /** Null where the harness's registry has no such metric. */
        static @Nullable Kind of(String name) {
            for (Kind kind : values()) {
                if (kind.label.equals(name)) {
                    return kind;
                }
            }
            return null;
        }
    }

    private Metric() {}

    /**
     * @param text what the document's {@code doc_to_text} says: a number where choices are inputs
     * @param target what {@code doc_to_target} says
     * @param choices or null
     * @param multipleInputs whether choices stand before the continuation
     * @param multipleTargets whether the task's documents have lists of right answers
     */
    record Doc(
            ObjectNode json,
            JsonNode text,
            JsonNode target,
            @Nullable JsonNode choices,
            boolean multipleInputs,
            boolean multipleTargets) {}

    /**
     * Values of a document: numbers, or pairs for aggregations that want them.
     *
     * @param results filtered answers, one per request: texts, {@code [logprob, is_greedy]}, or of rolling ones the log-probability
     * @param sandbox runs code, or null: then what needs it has no value
     */
    static Map<String, JsonNode> of(EvalTask task, Doc doc, List<JsonNode> results, @Nullable CodeSandbox sandbox) {
        if (task.processResults() != null) {
            return TaskFunctions.results(task.processResults()).apply(doc.json(), results);
        }
        return switch (task.outputType()) {
            case LOGLIKELIHOOD -> loglikelihood(task, results.get(0));
            case LOGLIKELIHOOD_ROLLING -> only(task, rolling(results.get(0).doubleValue(), Python.str(doc.target())));
            case MULTIPLE_CHOICE -> choice(task, doc, results);
            case GENERATE_UNTIL -> generated(task, doc, results.get(0), sandbox);
        };
    }

    private static Map<String, JsonNode> only(EvalTask task, Map<String, JsonNode> values) {
        Map<String, JsonNode> wanted = new LinkedHashMap<>();
        values.forEach((name, value) -> {
            if (task.hasMetric(name)) {
                wanted.put(name, value);
            }
        });
        return wanted;
    }

    private static Map<String, JsonNode> loglikelihood(EvalTask task, JsonNode result) {
        Map<String, JsonNode> values = new LinkedHashMap<>();
        values.put("perplexity", result.get(0));
        values.put("acc", MAKE.numberNode(result.get(1).booleanValue() ? 1 : 0));
        return only(task, values);
    }

    /** Log-probability beside words and bytes, for each of the three metrics of whole documents. */
    static Map<String, JsonNode> rolling(double logprob, String text) {
        JsonNode words = pair(logprob, SPACES.split(text, -1).length);
        JsonNode bytes = pair(logprob, text.getBytes(StandardCharsets.UTF_8).length);
        Map<String, JsonNode> values = new LinkedHashMap<>();
        values.put("word_perplexity", words);
        values.put("byte_perplexity", bytes);
        values.put("bits_per_byte", bytes);
        return values;
    }

    private static ArrayNode pair(double a, int b) {
        return MAKE.arrayNode().add(a).add(b);
    }

    private static ArrayNode pair(JsonNode a, JsonNode b) {
        return MAKE.arrayNode().add(a).add(b);
    }

    private static Map<String, JsonNode> choice(EvalTask task, Doc doc, List<JsonNode> results) {
        JsonNode choices = doc.choices();
        if (choices == null) {
            throw new IllegalArgumentException("a task of multiple choice has no doc_to_choice");
        }
        int count = choices.size();
        double[] logprobs = new double[count];
        double[] byCharacters = new double[count];
        double[] byBytes = new double[count];
        double[] mutual = new double[count];
        for (int i = 0; i < count; i++) {
            String choice = Python.str(choices.get(i));
            logprobs[i] = results.get(i).get(0).doubleValue();
            byCharacters[i] = logprobs[i] / choice.codePointCount(0, choice.length());
            byBytes[i] = logprobs[i] / choice.getBytes(StandardCharsets.UTF_8).length;
            boolean hasPrior = results.size() == 2 * count;
            mutual[i] = logprobs[i] - (hasPrior ? results.get(count + i).get(0).doubleValue() : 0);
        }
        List<Integer> gold = gold(doc, choices);
        boolean greedy =
                gold.stream().anyMatch(i -> i >= 0 && results.get(i).get(1).booleanValue());
        JsonNode first = MAKE.numberNode(gold.isEmpty() ? -100 : gold.get(0));
        Map<String, JsonNode> values = new LinkedHashMap<>();
        values.put("acc", hit(gold, logprobs));
        values.put("f1", pair(first, MAKE.numberNode(argmax(logprobs))));
        values.put("mcc", pair(first, MAKE.numberNode(argmax(logprobs))));
        values.put("acc_norm", hit(gold, byCharacters));
        values.put("acc_bytes", hit(gold, byBytes));
        values.put("exact_match", MAKE.numberNode(greedy ? 1 : 0));
        values.put("brier_score", pair(first, softmax(logprobs)));
        values.put("acc_mutual_info", hit(gold, mutual));
        return only(task, values);
    }

    /** Places of the right choices; -100 stands for one that is not there. */
    private static List<Integer> gold(Doc doc, JsonNode choices) {
        JsonNode gold = doc.multipleInputs() ? doc.text() : doc.target();
        List<Integer> places = new ArrayList<>();
        (gold.isArray() ? gold : List.of(gold)).forEach(one -> {
            int place = -100;
            if (one.isIntegralNumber()) {
                place = one.intValue() < choices.size() ? one.intValue() : -100;
            } else if (one.isTextual()) {
                for (int i = choices.size() - 1; i >= 0; i--) {
                    place = choices.get(i).equals(one) ? i : place;
                }
            }
            places.add(place);
        });
        return places;
    }

    private static JsonNode hit(List<Integer> gold, double[] scores) {
        return MAKE.numberNode(gold.contains(argmax(scores)) ? 1.0 : 0.0);
    }

    private static int argmax(double[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) {
            best = values[i] > values[best] ? i : best;
        }
        return best;
    }

    private static ArrayNode softmax(double[] logprobs) {
        double max = logprobs[argmax(logprobs)];
        double sum = 0;
        for (double logprob : logprobs) {
            sum += Math.exp(logprob - max);
        }
        ArrayNode probabilities = MAKE.arrayNode();
        for (double logprob : logprobs) {
            probabilities.add(Math.exp(logprob - max) / sum);
        }
        return probabilities;
    }

    private static Map<String, JsonNode> generated(
            EvalTask task, Doc doc, JsonNode result, @Nullable CodeSandbox sandbox) {
        JsonNode gold = doc.target();
        if (doc.choices() != null) {
            gold = doc.choices().get(gold.intValue());
        } else if (!doc.multipleTargets() && !result.isArray()) {
            gold = MAKE.textNode(Python.str(gold));
        }
        List<JsonNode> targets = new ArrayList<>();
        if (doc.multipleTargets() && gold.isArray()) {
            gold.forEach(targets::add);
        } else {
            targets.add(gold);
        }
        Map<String, JsonNode> values = new LinkedHashMap<>();
        for (MetricConfig metric : task.metrics()) {
            if (metric.function() != null) {
                CodeSandbox.passAtK(metric, Python.str(gold), result, sandbox).forEach(values::put);
                continue;
            }
            values.put(metric.name(), value(metric, doc.multipleTargets(), gold, targets, result));
        }
        return values;
    }

    private static JsonNode value(
            MetricConfig metric, boolean multiple, JsonNode gold, List<JsonNode> targets, JsonNode result) {
        return switch (metric.name()) {
            case "exact_match" -> {
                String answer = comparable(Python.str(result), metric.options());
                boolean match = targets.stream().anyMatch(target -> comparable(Python.str(target), metric.options())
                        .equals(answer));
                yield MAKE.numberNode(match ? 1.0 : 0.0);
            }
            case "bypass" -> MAKE.numberNode(999);
            case "bleu", "chrf", "ter", "f1", "mcc" -> {
                if (multiple) {
                    // The harness asks whether the pair is empty, which it never is.
                    yield MAKE.numberNode(1.0);
                }
                yield pair(gold, result);
            }
            default -> throw new IllegalArgumentException(
                    "the metric '%s' is not one of generated text".formatted(metric.name()));
        };
    }

    /** A text without what the metric's options ignore. */
    private static String comparable(String text, ObjectNode options) {
        String left = text;
        for (JsonNode regex : options.path("regexes_to_ignore")) {
            left = PythonRegex.compile(regex.asText()).removeFrom(left);
        }
        if (options.path("ignore_case").asBoolean()) {
            left = left.toLowerCase(Locale.ROOT);
        }
        if (options.path("ignore_punctuation").asBoolean()) {
            left = Python.withoutPunctuation(left);
        }
        return options.path("ignore_numbers").asBoolean() ? Python.without(left, "0123456789") : left;
    }

    /**
     * Looks for what no document could tell: a metric that is not known.
     *
     * @throws IllegalArgumentException naming it
     */
    static void require(EvalTask task) {
        for (MetricConfig metric : task.metrics()) {
            if (task.processResults() != null) {
                continue;
            }
            boolean isFunction = metric.function() != null;
            if (isFunction && !CodeSandbox.METRIC.equals(metric.function())) {
                throw new IllegalArgumentException("!function %s has no counterpart here".formatted(metric.function()));
            }
            if (!isFunction && Kind.of(metric.name()) == null) {
                throw new IllegalArgumentException("the metric '%s' is not known".formatted(metric.name()));
            }
        }
    }
}
