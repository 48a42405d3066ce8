package io.nightmill.jobs.eval;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Each instruction of IFEval on an answer that follows it and one that does not. */
class InstructionChecksTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    private static Map<String, JsonNode> check(String id, String kwargs, String answer) {
        try {
            ObjectNode doc = JSON.createObjectNode().put("prompt", "Say it.");
            doc.putArray("instruction_id_list").add(id);
            doc.putArray("kwargs").add(JSON.readTree(kwargs));
            return InstructionChecks.results(doc, List.of(JSON.getNodeFactory().textNode(answer.replace("|", "\n"))));
        } catch (JsonProcessingException e) {
            throw new AssertionError(e);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '~',
            value = {
                "keywords:existence~{\"keywords\":[\"apple\",\"pear\"]}~An Apple and a pear~an apple",
                "keywords:frequency~{\"keyword\":\"no\",\"frequency\":2,\"relation\":\"at least\"}~no No~no",
                "keywords:forbidden_words~{\"forbidden_words\":[\"sad\"]}~saddle~so Sad.",
                "keywords:letter_frequency~{\"letter\":\"z\",\"let_frequency\":2,\"let_relation\":\"less than\"}~Zoo~zZ",
                "language:response_language~{\"language\":\"de\"}~Das ist ein ganz einfacher deutscher Satz.~This is a plain English sentence.",
                "length_constraints:number_sentences~{\"num_sentences\":2,\"relation\":\"less than\"}~Only one.~One. Two. Three.",
                "length_constraints:number_paragraphs~{\"num_paragraphs\":2}~one ***|two~one",
                "length_constraints:number_words~{\"num_words\":3,\"relation\":\"at least\"}~one two three~one two",
                "length_constraints:nth_paragraph_first_word~{\"num_paragraphs\":2,\"nth_paragraph\":2,\"first_word\":\"So\"}~a||So, b~a||But b",
                "detectable_content:number_placeholders~{\"num_placeholders\":2}~[a] and [b]~[a]",
                "detectable_content:postscript~{\"postscript_marker\":\"P.S.\"}~end|P.S. more~end",
                "detectable_format:number_bullet_lists~{\"num_bullets\":2}~* a|* b~* a",
                "detectable_format:constrained_response~{}~My answer is yes.~Yes.",
                "detectable_format:number_highlighted_sections~{\"num_highlights\":2}~*a* and *b*~*a*",
                "detectable_format:multiple_sections~{\"section_spliter\":\"Section\",\"num_sections\":2}~Section 1 a Section 2 b~Section 1",
                "detectable_format:json_format~{}~```json|{\"a\": 1}|```~{a",
                "detectable_format:title~{}~<<My title>> text~<< >> text",
                "combination:two_responses~{}~one******two~one",
                "combination:repeat_prompt~{\"prompt_to_repeat\":\"Say it.\"}~say it. Done~Done",
                "startend:end_checker~{\"end_phrase\":\"the end\"}~This is The End~The end is near",
                "change_case:capital_word_frequency~{\"capital_frequency\":2,\"capital_relation\":\"at least\"}~A BIG dog~a BIG dog",
                "change_case:english_capital~{}~THIS IS ALL WRITTEN IN CAPITALS AND IN ENGLISH~This is not in capitals at all",
                "change_case:english_lowercase~{}~this is written in small letters and in english~This is written with one capital letter",
                "punctuation:no_comma~{}~none here~one, here",
                "startend:quotation~{}~\"quoted\"~quoted"
            })
    void tellsWhetherItWasFollowed(String id, String kwargs, String follows, String not) {
        assertThat(check(id, kwargs, follows).get("prompt_level_strict_acc").asBoolean())
                .as(follows)
                .isTrue();
        assertThat(check(id, kwargs, not).get("prompt_level_strict_acc").asBoolean())
                .as(not)
                .isFalse();
        assertThat(check(id, kwargs, " ").get("prompt_level_loose_acc").asBoolean())
                .isFalse();
    }

    @Test
    void looselyIsWithoutFirstLineAndAsterisks() {
        Map<String, JsonNode> values = check("startend:quotation", "{}", "Here it is:|\"quoted\"");
        assertThat(values.get("prompt_level_strict_acc").asBoolean()).isFalse();
        assertThat(values.get("prompt_level_loose_acc").asBoolean()).isTrue();
        assertThat(values.get("inst_level_loose_acc").toString()).isEqualTo("[true]");
    }

    @Test
    void accuracyIsOverAllInstructions() throws JsonProcessingException {
        assertThat(InstructionChecks.instructionAccuracy(
                        List.of(JSON.readTree("[true,false,true]"), JSON.readTree("[false]"))))
                .isEqualTo(0.5);
    }
}
