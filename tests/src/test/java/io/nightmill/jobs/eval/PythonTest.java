package io.nightmill.jobs.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Against what CPython writes and draws: {@code resources/eval/make_data.py} and {@code shared/data/python_random.json}. */
class PythonTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    private static JsonNode expected() throws IOException {
        return JSON.readTree(PythonTest.class.getResource("/eval/expected_metrics.json"));
    }

    @Test
    void floatsReadAsPythonWritesThem() throws IOException {
        for (JsonNode pair : expected().at("/python/floats")) {
            assertThat(Python.repr(pair.get(0).doubleValue()))
                    .isEqualTo(pair.get(1).asText());
        }
    }

    @Test
    void valuesReadAsPythonWritesThem() throws IOException {
        for (JsonNode object : expected().at("/python/objects")) {
            JsonNode value = object.get("value");
            assertThat(Python.str(value)).isEqualTo(object.get("str").asText());
            assertThat(Python.dumps(value, 0)).isEqualTo(object.get("dumps").asText());
            assertThat(Python.dumps(value, 2)).isEqualTo(object.get("indented").asText());
            if (!value.isTextual()) {
                assertThat(Python.literal(Python.repr(value))).isEqualTo(value);
            }
        }
    }

    @Test
    void brokenLiteralsSayWhere() {
        assertThatThrownBy(() -> Python.literal("['a', b]")).hasMessageContaining("expected a value at character 6");
        assertThatThrownBy(() -> Python.literal("['a")).hasMessageContaining("expected the closing '");
        assertThatThrownBy(() -> Python.literal("[1] 2")).hasMessageContaining("expected the end at character 4");
    }

    @Test
    void drawsAsPythonDoes() throws IOException {
        JsonNode random = JSON.readTree(
                Files.readString(Path.of(System.getProperty("nightmill.shared")).resolve("data/python_random.json")));
        assertThat(random.path("sample")).isNotEmpty();
        for (JsonNode draws : random.path("sample")) {
            PythonRandom generator = new PythonRandom(draws.path("seed").asLong());
            for (JsonNode draw : draws.path("draws")) {
                int[] mine = generator.sample(
                        draws.path("population").asInt(), draws.path("k").asInt());
                assertThat(mine).containsExactly(JSON.convertValue(draw, int[].class));
            }
        }
    }

    @Test
    void cannotDrawMoreThanThereIs() {
        assertThatThrownBy(() -> new PythonRandom(0).sample(3, 4)).hasMessage("Cannot draw 4 documents: there are 3");
    }
}
