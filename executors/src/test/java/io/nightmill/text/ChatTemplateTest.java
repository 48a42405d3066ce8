package io.nightmill.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.ModelLoader;
import io.nightmill.models.ModelText;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** Templates with what those of real models use. */
class ChatTemplateTest {
    private static final String MESSAGES =
            """
            [{"role":"system","content":"Be brief."},{"role":"user","content":"Hi there"},\
            {"role":"assistant","content":"<think>\\nhm\\n</think>\\n\\nHello"},{"role":"user","content":"Bye  "}]""";
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String SPECIAL = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";

    private static String render(String template) {
        return new ChatTemplate(template, SPECIAL).render(MESSAGES);
    }

    @Test
    void llama3() {
        String template =
                "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start|>' +"
                        + " message['role'] + '<|end|>\n\n' + message['content'] | trim + '<|eot|>' %}{% if loop.index0 == 0 %}"
                        + "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
                        + "{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% endif %}";
        assertThat(render(template))
                .startsWith("<s><|start|>system<|end|>\n\nBe brief.<|eot|>")
                .endsWith("Bye<|eot|><|start|>assistant<|end|>\n\n");
    }

    @Test
    void qwen3WithNamespacesSlicesAndPythonsStringMethods() {
        String template =
                """
                {%- set ns = namespace(last=0) -%}
                {%- for message in messages[::-1] %}
                    {%- set index = (messages|length - 1) - loop.index0 %}
                    {%- if message.role == "user" and ns.last == 0 %}{%- set ns.last = index %}{%- endif %}
                {%- endfor %}
                {%- for message in messages %}
                    {%- set content = message.content %}
                    {%- if message.role == 'assistant' and '</think>' in content and loop.index0 < ns.last %}
                        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
                    {%- endif %}
                    {{- '<|im_start|>' + message.role + '\\n' + content.rstrip() + '<|im_end|>\\n' }}
                {%- endfor %}
                {%- if add_generation_prompt %}
                    {{- '<|im_start|>assistant\\n' }}
                {%- endif %}
                """;
        assertThat(render(template))
                .isEqualTo(
                        """
                        <|im_start|>system
                        Be brief.<|im_end|>
                        <|im_start|>user
                        Hi there<|im_end|>
                        <|im_start|>assistant
                        Hello<|im_end|>
                        <|im_start|>user
                        Bye<|im_end|>
                        <|im_start|>assistant
                        """);
    }

    @Test
    void templateThatRefusesSaysWhy() {
        String template =
                "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}";
        assertThatThrownBy(() -> render(template))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("System role not supported");
    }

    @Test
    void jsonAndDatesAndTests() {
        assertThat(render("{{ messages[1] | tojson }}|{{ strftime_now('%Y') }}|{{ tools is defined }}|"
                        + "{{ messages[0].content is string }}|{{ messages | map(attribute='role') | join(',') }}"))
                .matches(
                        "\\{\"role\": \"user\", \"content\": \"Hi there\"}\\|20\\d\\d\\|True\\|True\\|system,user,assistant,user");
    }

    @Test
    void endlessTemplateIsStoppedAndTheNextRenders() {
        ChatTemplate template = new ChatTemplate(
                "{% if messages[0].content == 'Loop' %}{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}"
                        + "{% endfor %}{% endif %}done",
                SPECIAL);
        assertThatThrownBy(() -> template.render("[{\"role\":\"user\",\"content\":\"Loop\"}]"))
                .isInstanceOf(IllegalArgumentException.class);
        assertThat(template.render(MESSAGES)).isEqualTo("done");
    }

    @Test
    void templateOfAGgufFile() {
        ModelText text = ModelLoader.loadText(Path.of(
                System.getProperty("nightmill.shared", "../../shared"), "tokenizers/llama.cpp/ggml-vocab-phi-3.gguf"));
        assertThat(text.chatTemplate().render("[{\"role\":\"user\",\"content\":\"Hi\"}]"))
                .isEqualTo("<s><|user|>\nHi<|end|>\n<|assistant|>\n");
    }

    /**
     * What transformers made of each template for each chat, {@code tests/reference/templates.py}; -Dnightmill.templates=FILE takes those
     * of a sweep.
     */
    @Test
    void rendersAsTransformers() throws IOException {
        String sweep = System.getProperty("nightmill.templates");
        JsonNode root = sweep == null
                ? JSON.readTree(ChatTemplateTest.class.getResource("/templates.json"))
                : JSON.readTree(Path.of(sweep).toFile());
        Map<Integer, ChatTemplate> templates = new HashMap<>();
        List<String> differences = new ArrayList<>();
        for (JsonNode one : root.path("cases")) {
            int number = one.path("template").asInt();
            String rendered = null;
            String failure = null;
            try {
                ChatTemplate template = templates.computeIfAbsent(
                        number,
                        at -> new ChatTemplate(root.path("templates").get(at).asText(), SPECIAL));
                rendered = template.render((ObjectNode) one.path("request"));
            } catch (IllegalArgumentException e) {
                failure = e.getMessage();
            }
            if (!Objects.equals(rendered, one.path("expected").textValue())) {
                String template = root.path("templates").get(number).asText();
                differences.add("%s%nof %s%nis       %s %s%nexpected %s"
                        .formatted(
                                template.substring(0, Math.min(200, template.length())),
                                one.path("request"),
                                rendered,
                                failure,
                                one.path("expected").textValue()));
            }
        }
        assertThat(root.path("cases")).hasSizeGreaterThan(500);
        assertThat(differences).isEmpty();
    }
}
