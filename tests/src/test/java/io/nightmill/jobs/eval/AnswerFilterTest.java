package io.nightmill.jobs.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.FilterConfig;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Filters on answers whose outcome is read off the harness's definitions by hand. */
class AnswerFilterTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String NONE = "{}";

    private static JsonNode filter(String steps, String doc, String... answers) {
        try {
            List<ObjectNode> list = new ArrayList<>();
            JSON.readTree(steps).forEach(step -> list.add((ObjectNode) step));
            return AnswerFilter.of(new FilterConfig("f", list))
                    .apply(JSON.valueToTree(answers), (ObjectNode) JSON.readTree(doc));
        } catch (JsonProcessingException e) {
            throw new AssertionError(e);
        }
    }

    private static String one(String step, String doc, String answer) {
        return filter("[%s, {\"function\":\"take_first\"}]".formatted(step), doc, answer)
                .asText();
    }

    @Test
    void votesAndFirstOnes() {
        assertThat(filter(
                                "[{\"function\":\"majority_vote\"},{\"function\":\"take_first\"}]",
                                NONE,
                                "a",
                                "b",
                                "b",
                                "a",
                                "c")
                        .asText())
                .isEqualTo("a");
        assertThat(filter(
                                "[{\"function\":\"take_first_k\",\"k\":3},{\"function\":\"majority_vote\"}]",
                                NONE,
                                "a",
                                "b",
                                "b",
                                "a")
                        .toString())
                .isEqualTo("[\"b\"]");
        assertThatThrownBy(() -> filter("[{\"function\":\"take_first_k\",\"k\":3}]", NONE, "a"))
                .hasMessage("take_first_k wants 3 answers, there are 1");
    }

    @Test
    void changesOfEachAnswer() {
        assertThat(one("{\"function\":\"remove_whitespace\"}", NONE, " \n a ")).isEqualTo("a");
        assertThat(one("{\"function\":\"lowercase\"}", NONE, "AbÉ")).isEqualTo("abé");
        assertThat(one("{\"function\":\"uppercase\"}", NONE, "ab")).isEqualTo("AB");
        String map = "{\"function\":\"map\",\"mapping_dict\":{\"yes\":\"1\"},\"default_value\":\"?\"}";
        assertThat(one(map, NONE, "yes")).isEqualTo("1");
        assertThat(one(map, NONE, "no")).isEqualTo("?");
    }

    @Test
    void entitiesAndTags() {
        assertThat(one(
                        "{\"function\":\"format_span\"}",
                        NONE,
                        "Person: Ada, Bob $$ Place: x\nDATE: none $$ loc: Rome$$"))
                .isEqualTo("per: ada $ per: bob $ loc: rome");
        assertThat(filter("[{\"function\":\"regex_pos\"}]", NONE, "[('I', 'PRON'), ('run', 'VERB')]", "no")
                        .toString())
                .isEqualTo("[[\"PRON\",\"VERB\"],[\"invalid\"]]");
    }

    @Test
    void lettersOfChoices() {
        String step = "{\"function\":{\"!function\":\"zeroshot/utils.MultiChoiceRegexFilter\"},\"ignore_case\":true,"
                + "\"ignore_punctuation\":true,\"regex_pattern\":\"(\\\\([A-Z]\\\\))\"}";
        String doc = "{\"input\":\"Which?\\nOptions:\\n(A) the Red, one\\n(B) blue\"}";
        assertThat(one(step, doc, "It is (B).")).isEqualTo("(B)");
        assertThat(one(step, doc, "I say the red one!")).isEqualTo("(A)");
        assertThat(one(step, doc, "answer: B")).isEqualTo("(B)");
        assertThat(one(step, doc, "green")).isEqualTo("[invalid]");
        String listed = "{\"function\":\"multi_choice_regex\",\"regex_pattern\":\"(\\\\([A-Z]\\\\))\"}";
        assertThat(one(listed, "{\"choices\":[\"left\",\"right\"]}", "go right"))
                .isEqualTo("(B)");
    }

    @Test
    void wordsNumbersAndMaps() {
        String sort = "{\"function\":{\"!function\":\"zeroshot/utils.WordSortFilter\"}}";
        assertThat(one(sort, "{\"input\":\"Sort. List: b a c\"}", "c a b, no: a b c"))
                .isEqualTo("a b c");
        String number =
                "{\"function\":{\"!function\":\"zeroshot/utils.NumberParseRegexFilter\"},\"regex_pattern\":\"([0-9]+)\"}";
        assertThat(one(number, NONE, "there are 12 of 13")).isEqualTo("12");
        assertThat(one(number, NONE, "There are Twenty-one apples")).isEqualTo("21");
        assertThat(one(number, NONE, "two thousand three hundred and five")).isEqualTo("2305");
        assertThat(one(number, NONE, "none at all")).isEqualTo("[invalid]");
        String map = "{\"function\":{\"!function\":\"zeroshot/utils.MapRegexFilter\"},\"ignore_case\":true,"
                + "\"regex_pattern_to_value\":{\"\\\\bnot?\\\\b\":\"no\",\"\\\\byes\\\\b\":\"yes\"}}";
        assertThat(one(map, NONE, "YES, it is")).isEqualTo("yes");
        assertThat(one(map, NONE, "It is not")).isEqualTo("no");
        assertThat(one(map, NONE, "maybe")).isEqualTo("[invalid]");
    }

    @Test
    void unknownNamesAreNamed() {
        assertThatThrownBy(() -> filter("[{\"function\":\"guess\"}]", NONE, "a"))
                .hasMessageContaining("the filter 'guess' is not one of [custom, format_span, lowercase");
        assertThatThrownBy(() -> filter("[{\"function\":{\"!function\":\"mytask/utils.mine\"}}]", NONE, "a"))
                .hasMessageContaining("!function mytask/utils.mine has no counterpart here");
    }
}
