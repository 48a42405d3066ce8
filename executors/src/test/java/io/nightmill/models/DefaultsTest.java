package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nightmill.weights.ConfigNode;
import org.junit.jupiter.api.Test;

class DefaultsTest {
    @Test
    void whatIsLeftOutIsTheReferencesAndWhatIsNullIsNot() throws JsonProcessingException {
        ConfigNode config = filled(
                """
                {"model_type": "gemma2", "final_logit_softcapping": null, "sliding_window": 16}
                """);

        assertThat(config.doubleOr("attn_logit_softcapping", 0)).isEqualTo(50);
        assertThat(config.has("final_logit_softcapping")).isFalse();
        assertThat(config.requireInt("sliding_window")).isEqualTo(16);
        assertThatThrownBy(() -> config.requireInt("vocab_size"))
                .hasMessage("Cannot use key 'vocab_size' of there: it is missing, expected an integer");
    }

    @Test
    void aKeyCountsUnderEachOfItsNames() throws JsonProcessingException {
        assertThat(filled("{\"model_type\": \"kimi_linear\", \"num_local_experts\": 8}")
                        .has("num_experts"))
                .isFalse();
        assertThat(filled("{\"model_type\": \"kimi_linear\"}").requireInt("num_experts"))
                .isEqualTo(256);
    }

    @Test
    void whatHasNoDefaultsIsLeftAsItIs() throws JsonProcessingException {
        assertThat(filled("{\"model_type\": \"none\"}").json()).hasSize(1);
        assertThat(filled("[]").json()).isEmpty();
    }

    private static ConfigNode filled(String json) throws JsonProcessingException {
        return Defaults.fill(ConfigNode.of(new ObjectMapper().readTree(json), "there"));
    }
}
