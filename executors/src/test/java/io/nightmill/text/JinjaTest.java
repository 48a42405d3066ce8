package io.nightmill.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What Jinja2 makes of templates that evaluation tasks use; expectations written by its documentation. */
class JinjaTest {
    private static final String DOC =
            """
            {"answer": "steps\\n#### 72", "text": "one two three", "answerKey": "2", "label": 1, "none": null, "yes": true,
             "choices": {"label": ["A", "B"], "text": ["it's", "say \\"hi\\""]}, "n": 3, "half": 0.5, "word": " mIXED "}
            """;

    private final Jinja jinja = new Jinja();

    private String render(String template) {
        try {
            return jinja.render(template, (ObjectNode) new ObjectMapper().readTree(DOC));
        } catch (JsonProcessingException e) {
            throw new AssertionError(e);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '~',
            ignoreLeadingAndTrailingWhitespace = false,
            quoteCharacter = '`',
            value = {
                "{{answer.split('####')[-1].strip() if answer is defined else target}}~72",
                "{{text.split(' ')[:-1]|join(' ')}}~one two",
                "{{' '+text.split(' ')[-1]}}~ three",
                "{{choices.label.index('B')}}~1",
                "{{choices.label.index(answerKey) if answerKey in choices.label else answerKey|int - 1}}~1",
                "{{ 'ABCD'[answerKey|int - 1] if answerKey|string in '1234' else answerKey }}~B",
                "{{[label, n]}}~[1, 3]",
                "{{none}} {{yes}} {{half}}~None True 0.5",
                "{% if choices.text|length > 1 %}many{% endif %}~many",
                "{% set q = 'Q: ' %}{{q + text}}~Q: one two three",
                "{{word.strip().capitalize()}}~Mixed",
                "{{text.replace('one', '1').count('t')}}~2",
                "{{text|regex_replace('t(w|h)', 'T\\\\1')}}~one Two Three",
                "{{'xxabcxx'.strip('x')}}~abc",
                "{{choices}}~`{'label': ['A', 'B'], 'text': [\"it's\", 'say \"hi\"']}`"
            })
    void rendersAsPython(String template, String expected) {
        assertThat(render(template)).isEqualTo(expected);
    }

    @Test
    void listsReadAsPythonWritesThem() {
        assertThat(render("{{choices.text}}")).isEqualTo("[\"it's\", 'say \"hi\"']");
    }

    @Test
    void keepsEveryNewline() {
        assertThat(render("{{n}}\n\n")).isEqualTo("3\n\n");
        assertThat(render("{% if yes %}\n  a{% endif %}\n")).isEqualTo("\n  a\n");
    }

    @Test
    void whatIsNotThereIsAnError() {
        assertThatThrownBy(() -> render("Q: {{question}}")).hasMessageContaining("undefined: question");
        assertThatThrownBy(() -> render("{{choices.texts}}")).hasMessageContaining("undefined: choices.texts");
        assertThatThrownBy(() -> render("{{missing.strip()}}")).hasMessageContaining("undefined: missing");
        assertThatThrownBy(() -> render("{{choices.label.index('C')}}")).hasMessageContaining("'C' is not in list");
    }

    @Test
    void endlessTemplateIsStopped() {
        String template = "{% for a in range(100000) %}{% for b in range(100000) %}{{b}}{% endfor %}{% endfor %}";
        assertThatThrownBy(() -> render(template)).isInstanceOf(IllegalArgumentException.class);
        assertThat(render("{{n}}")).isEqualTo("3");
    }
}
