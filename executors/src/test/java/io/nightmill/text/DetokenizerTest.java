package io.nightmill.text;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.models.ModelLoader;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class DetokenizerTest {
    private final Tokenizer tokenizer = ModelLoader.loadText(
                    Path.of(System.getProperty("nightmill.shared", "../../shared"), "real/stories260K.gguf"))
            .tokenizer();

    @Test
    void streamingNeverShowsHalfACharacter() {
        int[] prompt = tokenizer.encode("Once upon", true);
        // The vocabulary has no emoji: four byte tokens make one.
        int[] ids = tokenizer.encode(" a 🦙 time, café", false);
        Detokenizer detokenizer = new Detokenizer(tokenizer, true, prompt);
        for (int id : ids) {
            detokenizer.push(id);
            assertThat(detokenizer.text()).doesNotContain("\uFFFD");
        }
        assertThat(detokenizer.text().toString())
                .isEqualTo(Detokenizer.text(tokenizer, true, prompt, ids))
                .contains("🦙 time, café");
    }

    @Test
    void textGoesOnWhereThePromptEnds() {
        int[] prompt = tokenizer.encode("Once upon a", true);
        int[] whole = tokenizer.encode("Once upon a time there", true);
        int[] rest = java.util.Arrays.copyOfRange(whole, prompt.length, whole.length);
        assertThat(Detokenizer.text(tokenizer, true, prompt, rest)).isEqualTo(" time there");
    }

    @Test
    void incompleteEndIsReplaced() {
        int[] llama = tokenizer.encode("🦙", false);
        int[] cut = java.util.Arrays.copyOf(llama, llama.length - 1);
        assertThat(Detokenizer.text(tokenizer, true, new int[] {1}, cut)).endsWith("\uFFFD");
    }
}
