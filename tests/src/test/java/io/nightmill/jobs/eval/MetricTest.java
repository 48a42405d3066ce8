package io.nightmill.jobs.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.FilterConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Metrics of given answers, against {@code resources/eval/make_data.py}, which computes them from their definitions; BLEU and chrF
 * against the figures of sacrebleu's own README, TER against the cases of its tests.
 */
class MetricTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int ITERATIONS = 2000;

    private static JsonNode expected(String at) throws IOException {
        return JSON.readTree(MetricTest.class.getResource("/eval/expected_metrics.json"))
                .at(at);
    }

    @TempDir
    Path temp;

    private EvalTask task(String yaml) throws IOException {
        return EvalTask.of(
                TaskYaml.read(Files.writeString(temp.resolve("t.yaml"), yaml)),
                new EvalTask.Overrides(null, JSON.createObjectNode()));
    }

    @Test
    void choices() throws IOException {
        EvalTask task = task(
                """
                {task: t, dataset_path: d, test_split: test, output_type: multiple_choice, doc_to_text: q, doc_to_target: gold,
                 doc_to_choice: choices, metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes},
                 {metric: acc_mutual_info}, {metric: exact_match}, {metric: brier_score}, {metric: f1}, {metric: mcc}]}
                """);
        Figures figures = new Figures(task);
        long place = 0;
        for (JsonNode one : expected("/choice/cases")) {
            Metric.Doc doc = new Metric.Doc(
                    JSON.createObjectNode(),
                    JSON.getNodeFactory().textNode("q"),
                    one.get("gold"),
                    one.get("choices"),
                    false,
                    false);
            List<JsonNode> answers = new ArrayList<>();
            one.get("answers").forEach(answers::add);
            figures.add("none", place++, Metric.of(task, doc, answers, null));
        }
        Map<String, Figures.Figure> all = figures.all(ITERATIONS);
        expected("/choice/figures").properties().forEach(entry -> {
            Figures.Figure figure = all.get(entry.getKey() + ",none");
            assertThat(figure.value())
                    .as(entry.getKey())
                    .isCloseTo(entry.getValue().get(0).asDouble(), within(1e-12));
            if (entry.getValue().get(1).isNull()) {
                assertThat(figure.standardError()).isNaN();
            } else {
                assertThat(figure.standardError())
                        .as(entry.getKey() + " standard error")
                        .isCloseTo(entry.getValue().get(1).asDouble(), within(1e-12));
            }
        });
        assertThat(all).hasSize(8);
    }

    @Test
    void exactMatchBehindFilters() throws IOException {
        EvalTask task = task(
                """
                {task: t, dataset_path: d, test_split: test, doc_to_text: q, doc_to_target: gold,
                 metric_list: [{metric: exact_match, ignore_case: true, regexes_to_ignore: [',', '\\$', '(?s).*#### ', '\\.$']}]}
                """);
        Map<String, String> patterns = Map.of(
                "strict-match", "#### (\\-?[0-9\\.\\,]+)",
                "flexible-extract", "(-?[$0-9.,]{2,})|(-?[0-9]+)",
                "cot", "(?<=the answer is )(.*)(?=.)");
        JsonNode cases = expected("/generation/regex");
        assertThat(cases).hasSize(24);
        for (JsonNode one : cases) {
            String name = one.get("filter").asText();
            ObjectNode regex =
                    JSON.createObjectNode().put("function", "regex").put("regex_pattern", patterns.get(name));
            regex.put("group_select", name.equals("flexible-extract") ? -1 : 0);
            AnswerFilter filter = AnswerFilter.of(new FilterConfig(
                    name, List.of(regex, JSON.createObjectNode().put("function", "take_first"))));
            JsonNode filtered = filter.apply(JSON.createArrayNode().add(one.get("text")), JSON.createObjectNode());
            assertThat(filtered.asText())
                    .as(one.toString())
                    .isEqualTo(one.get("filtered").asText());
            Metric.Doc doc = new Metric.Doc(
                    JSON.createObjectNode(), JSON.getNodeFactory().textNode("q"), one.get("gold"), null, false, false);
            assertThat(Metric.of(task, doc, List.of(filtered), null)
                            .get("exact_match")
                            .asDouble())
                    .as(one.toString())
                    .isEqualTo(one.get("exact_match").asDouble());
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "ignore_case: false|Yes.|Yes.|1",
                "ignore_case: false|Yes.|yes.|0",
                "ignore_case: true|Yes.|yes.|1",
                "ignore_punctuation: true|Y-e.s|Yes|1",
                "ignore_numbers: true|7a1|a|1",
                "ignore_case: false|7a1|a|0",
                "regexes_to_ignore: ['^the '], ignore_case: true|the Cat|cat|1"
            })
    void exactMatchIgnoresWhatItIsTold(String options, String answer, String gold, double expected) throws IOException {
        EvalTask task = task("task: t\ndataset_path: d\ntest_split: test\ndoc_to_text: q\ndoc_to_target: g\n"
                + "metric_list: [{metric: exact_match, %s}]".formatted(options));
        JsonNode text = JSON.getNodeFactory().textNode(gold);
        Metric.Doc doc = new Metric.Doc(JSON.createObjectNode(), text, text, null, false, false);
        JsonNode filtered = JSON.getNodeFactory().textNode(answer);
        assertThat(Metric.of(task, doc, List.of(filtered), null)
                        .get("exact_match")
                        .asDouble())
                .isEqualTo(expected);
    }

    @Test
    void anyOfManyTargetsMatches() throws IOException {
        EvalTask task = task(
                "{task: t, dataset_path: d, test_split: test, doc_to_text: q, doc_to_target: g, metric_list: [{metric: exact_match}]}");
        Metric.Doc doc = new Metric.Doc(
                JSON.createObjectNode(),
                JSON.getNodeFactory().textNode("q"),
                JSON.readTree("[\"a\",\"b\"]"),
                null,
                false,
                true);
        for (String answer : List.of("a", "b", "c")) {
            assertThat(Metric.of(task, doc, List.of(JSON.getNodeFactory().textNode(answer)), null)
                            .get("exact_match")
                            .asDouble())
                    .isEqualTo(answer.equals("c") ? 0 : 1);
        }
    }

    @Test
    void loglikelihoodsOfOneContinuation() throws IOException {
        EvalTask task = task(
                "{task: t, dataset_path: d, test_split: test, output_type: loglikelihood, doc_to_text: q, doc_to_target: g}");
        JsonNode text = JSON.getNodeFactory().textNode("q");
        Metric.Doc doc = new Metric.Doc(JSON.createObjectNode(), text, text, null, false, false);
        assertThat(Metric.of(task, doc, List.of(JSON.readTree("[-2.5, true]")), null))
                .hasToString("{perplexity=-2.5, acc=1}");
        assertThat(Metric.of(task, doc, List.of(JSON.readTree("[-0.5, false]")), null))
                .hasToString("{perplexity=-0.5, acc=0}");
    }

    @Test
    void perplexities() throws IOException {
        JsonNode plain = expected("/generation/perplexity");
        List<JsonNode> items = new ArrayList<>();
        plain.get("items").forEach(items::add);
        assertThat(Aggregation.PERPLEXITY.of(items))
                .isCloseTo(plain.get("value").asDouble(), within(1e-9));
        assertThat(Aggregation.PERPLEXITY.standardError(items, 3000))
                .isCloseTo(plain.get("stderr").asDouble(), within(1e-8));

        JsonNode rolling = expected("/generation/rolling");
        List<JsonNode> words = new ArrayList<>();
        List<JsonNode> bytes = new ArrayList<>();
        rolling.get("items").forEach(item -> {
            words.add(JSON.createArrayNode().add(item.get(0)).add(item.get(1)));
            bytes.add(JSON.createArrayNode().add(item.get(0)).add(item.get(2)));
        });
        assertThat(Aggregation.WEIGHTED_PERPLEXITY.of(words))
                .isCloseTo(rolling.get("word_perplexity").asDouble(), within(1e-12));
        assertThat(Aggregation.WEIGHTED_PERPLEXITY.of(bytes))
                .isCloseTo(rolling.get("byte_perplexity").asDouble(), within(1e-12));
        assertThat(Aggregation.BITS_PER_BYTE.of(bytes))
                .isCloseTo(rolling.get("bits_per_byte").asDouble(), within(1e-12));
        assertThat(Aggregation.BITS_PER_BYTE.standardError(bytes, 3000)).isNaN();
    }

    private static JsonNode pair(String answer, String... references) {
        ArrayNode list = JSON.createArrayNode();
        for (String reference : references) {
            list.add(reference);
        }
        return JSON.createArrayNode().add(list).add(answer);
    }

    @Test
    void bleuAndChrfOfSacrebleusReadme() {
        List<JsonNode> items = List.of(
                pair("The dog bit the man.", "The dog bit the man.", "The dog had bit the man."),
                pair("It wasn't surprising.", "It was not unexpected.", "No one was surprised."),
                pair("The man had just bitten him.", "The man bit him first.", "The man had bitten the dog."));
        assertThat(Aggregation.BLEU.of(items)).isCloseTo(48.530827, within(1e-5));
        assertThat(Aggregation.CHRF.of(items)).isCloseTo(59.73, within(0.005));
        assertThat(Aggregation.BLEU.standardError(items, 100000)).isPositive();
    }

    @ParameterizedTest
    @CsvSource({
        "aaaa bbbb cccc dddd, aaaa bbbb cccc dddd, 0",
        "dddd eeee ffff, aaaa bbbb cccc, 100",
        "'', a, 100",
        "d e f g h a b c, a b c d e f g h, 12.5",
        "a b c, '', 100"
    })
    void terOfSacrebleusTests(String answer, String reference, double expected) {
        assertThat(Aggregation.TER.of(List.of(pair(answer, reference)))).isCloseTo(expected, within(1e-9));
    }

    @Test
    void medianAndNanmean() throws IOException {
        List<JsonNode> items = new ArrayList<>();
        JSON.readTree("[3, 1, 2, 10]").forEach(items::add);
        assertThat(Aggregation.MEDIAN.of(items)).isEqualTo(3);
        items.add(JSON.getNodeFactory().numberNode(Double.NaN));
        assertThat(Aggregation.NANMEAN.of(items)).isEqualTo(4);
    }

    @ParameterizedTest
    @CsvSource({"1, 1, 1, 1", "5, 0, 1, 0", "10, 3, 1, 0.3", "10, 3, 2, 0.53333333333333333", "4, 3, 2, 1"})
    void passAtK(int n, int c, int k, double expected) {
        assertThat(CodeSandbox.estimate(n, c, k)).isCloseTo(expected, within(1e-12));
    }
}
