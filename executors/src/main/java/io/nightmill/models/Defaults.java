package io.nightmill.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.weights.ConfigNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;

/**
 * What the reference's configuration classes take for keys that a config.json leaves out, by model type. A key that is null is not left
 * out. {@code tests/reference/defaults.py} writes them; GGUF files have defaults of their own.
 */
final class Defaults {
    private static final JsonNode BY_TYPE = read();

    private Defaults() {}

    static ConfigNode fill(ConfigNode config) {
        JsonNode defaults = BY_TYPE.path(config.textOr("model_type", ""));
        if (defaults.isMissingNode()) {
            return config;
        }
        ObjectNode filled = config.json().deepCopy();
        defaults.fields().forEachRemaining(entry -> {
            String[] names = entry.getKey().split(" ");
            if (Arrays.stream(names).noneMatch(filled::has)) {
                filled.set(names[0], entry.getValue());
            }
        });
        return ConfigNode.of(filled, config.toString());
    }

    private static JsonNode read() {
        try (InputStream file = Defaults.class.getResourceAsStream("defaults.json")) {
            return new ObjectMapper().readTree(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
