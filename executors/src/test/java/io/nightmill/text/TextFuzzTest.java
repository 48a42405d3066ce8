package io.nightmill.text;

import com.code_intelligence.jazzer.junit.FuzzTest;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nightmill.runtime.SamplingJson;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Hostile vocabularies, templates and parameters end in an {@link IllegalArgumentException}, or do nothing worse than what they say. As a
 * test this runs the kept corpus; {@code JAZZER_FUZZ=1 ./mvnw -pl executors test -Dtest=TextFuzzTest#template} looks for more.
 */
class TextFuzzTest {
    private static final Jinja JINJA = new Jinja();
    private static final String MESSAGES = "[{\"role\":\"user\",\"content\":\"hi\"}]";

    private interface Reader {
        void read();
    }

    /** What may be wrong is said so; anything else is a finding. */
    private static void check(Reader reader) {
        try {
            reader.read();
        } catch (IllegalArgumentException e) {
            if (e.getMessage() == null || e.getMessage().isBlank()) {
                throw new AssertionError("no message", e);
            }
        }
    }

    @FuzzTest(maxDuration = "2m")
    void tokenizer(byte[] json) {
        check(() -> {
            HuggingFaceTokenizer tokenizer = new HuggingFaceTokenizer(json, 512);
            tokenizer.decode(tokenizer.encode("Once upon a time, 北京 \u0000", true), true);
        });
    }

    @FuzzTest(maxDuration = "2m")
    void sentencePiece(byte[] model) {
        check(() -> SentencePieceModel.toTokenizerJson(model, true));
    }

    @FuzzTest(maxDuration = "2m")
    void rwkv(byte[] lines) {
        check(() -> new RwkvTokenizer(List.of(new String(lines, StandardCharsets.UTF_8).split("\n")), 512));
    }

    @FuzzTest(maxDuration = "2m")
    void template(byte[] source) {
        String template = new String(source, StandardCharsets.UTF_8);
        check(() -> JINJA.render(template, new ObjectMapper().createObjectNode().put("bos_token", "<s>")));
        check(() -> new ChatTemplate(template, "{}").render(MESSAGES));
    }

    /** A row's own parameters, as a table's values make them. */
    @FuzzTest(maxDuration = "2m")
    void sampling(byte[] json) {
        check(() -> SamplingJson.parse("{\"max_tokens\":4}", new String(json, StandardCharsets.UTF_8)));
    }
}
