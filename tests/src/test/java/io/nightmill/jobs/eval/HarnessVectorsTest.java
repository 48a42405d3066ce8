package io.nightmill.jobs.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.FilterConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Filters, exact match, scores of corpora and IFEval's checks on random answers, against the harness itself: {@code tests/reference/harness.py}. */
class HarnessVectorsTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    private static JsonNode vectors(String name) throws IOException {
        JsonNode vectors = JSON.readTree(HarnessVectorsTest.class.getResource("/eval/vectors.json"))
                .path(name);
        assertThat(vectors).hasSizeGreaterThan(100);
        return vectors;
    }

    @Test
    void filters() throws IOException {
        for (JsonNode one : vectors("filters")) {
            FilterConfig config = new FilterConfig("f", List.of((ObjectNode) one.path("filter")));
            ObjectNode doc = JSON.createObjectNode().set("choices", one.path("choices"));
            JsonNode filtered = AnswerFilter.of(config).apply(one.path("resps"), doc);
            assertThat(filtered).as(one.toString()).isEqualTo(one.path("expected"));
        }
    }

    @Test
    void instructions() throws IOException {
        for (JsonNode one : vectors("instructions")) {
            Map<String, JsonNode> values =
                    InstructionChecks.results((ObjectNode) one.path("doc"), List.of(one.path("answer")));
            assertThat(JSON.<JsonNode>valueToTree(values)).as(one.toString()).isEqualTo(one.path("expected"));
        }
    }

    @Test
    void exactMatches() throws IOException {
        for (JsonNode one : vectors("exact_matches")) {
            ObjectNode config = JSON.createObjectNode().put("task", "t").put("dataset_path", "d");
            config.put("test_split", "test").put("doc_to_text", "q").put("doc_to_target", "gold");
            ObjectNode metric = config.putArray("metric_list").addObject().put("metric", "exact_match");
            metric.setAll((ObjectNode) one.path("options"));
            EvalTask task = EvalTask.of(config, new EvalTask.Overrides(null, JSON.createObjectNode()));
            Metric.Doc doc = new Metric.Doc(
                    JSON.createObjectNode(), JSON.getNodeFactory().textNode("q"), one.path("gold"), null, false, false);
            assertThat(Metric.of(task, doc, List.of(one.path("answer")), null)
                            .get("exact_match")
                            .asDouble())
                    .as(one.toString())
                    .isCloseTo(one.path("expected").asDouble(), within(1e-12));
        }
    }

    @Test
    void corpora() throws IOException {
        for (JsonNode one : vectors("corpora")) {
            List<JsonNode> items = new ArrayList<>();
            one.path("items").forEach(items::add);
            one.path("expected").properties().forEach(score -> assertThat(
                            Aggregation.of(score.getKey()).of(items))
                    .as(score.getKey() + " of " + items)
                    .isCloseTo(score.getValue().asDouble(), within(1e-9)));
            if (!one.path("error").isNull()) {
                assertThat(Aggregation.CHRF_PLUS_PLUS.standardError(items, 50))
                        .isCloseTo(one.path("error").asDouble(), within(1e-9));
            }
        }
    }
}
