package io.nightmill.weights;

import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A read-only JSON object whose errors name the key's full path and the file that it came from. */
public final class ConfigNode {
    // Published configurations have Infinity in time_step_limit.
    private static final ObjectMapper MAPPER = JsonMapper.builder()
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .build();

    private final JsonNode node;
    private final String path;
    private final String source;

    private ConfigNode(JsonNode node, String path, String source) {
        this.node = node;
        this.path = path;
        this.source = source;
    }

    public static ConfigNode of(JsonNode node, String source) {
        return new ConfigNode(node, "", source);
    }

    /** @throws IllegalArgumentException if the file is not JSON */
    public static ConfigNode read(Path file) {
        try {
            return of(MAPPER.readTree(Files.readAllBytes(file)), file.toString());
        } catch (IOException e) {
            throw new IllegalArgumentException("Cannot read " + file + ": " + e.getMessage(), e);
        }
    }

    public JsonNode json() {
        return node;
    }

    public boolean has(String key) {
        return node.hasNonNull(key);
    }

    /** The object under a key; an absent one has no keys. */
    public ConfigNode at(String key) {
        JsonNode child = node.path(key);
        return new ConfigNode(child.isNull() ? MissingNode.getInstance() : child, path(key), source);
    }

    public boolean isPresent() {
        return !node.isMissingNode() && !node.isNull();
    }

    private String path(String key) {
        return path.isEmpty() ? key : path + "." + key;
    }

    private IllegalArgumentException wrong(String key, String expected) {
        String found = node.has(key) ? "found " + node.get(key) : "it is missing";
        return new IllegalArgumentException(
                "Cannot use key '%s' of %s: %s, expected %s".formatted(path(key), source, found, expected));
    }

    public int requireInt(String key) {
        if (!node.path(key).canConvertToInt() || !node.path(key).isIntegralNumber()) {
            throw wrong(key, "an integer");
        }
        return node.get(key).intValue();
    }

    public int intOr(String key, int otherwise) {
        return has(key) ? requireInt(key) : otherwise;
    }

    public double requireDouble(String key) {
        if (!node.path(key).isNumber()) {
            throw wrong(key, "a number");
        }
        return node.get(key).doubleValue();
    }

    public double doubleOr(String key, double otherwise) {
        return has(key) ? requireDouble(key) : otherwise;
    }

    public String requireText(String key) {
        if (!node.path(key).isTextual()) {
            throw wrong(key, "a string");
        }
        return node.get(key).textValue();
    }

    public String textOr(String key, String otherwise) {
        return has(key) ? requireText(key) : otherwise;
    }

    public boolean booleanOr(String key, boolean otherwise) {
        if (!has(key)) {
            return otherwise;
        }
        if (!node.get(key).isBoolean()) {
            throw wrong(key, "true or false");
        }
        return node.get(key).booleanValue();
    }

    /** A list of lists of integers; an absent key is an empty list. */
    public List<List<Integer>> intLists(String key) {
        List<List<Integer>> lists = new ArrayList<>();
        for (JsonNode list : node.path(key)) {
            List<Integer> values = new ArrayList<>();
            for (JsonNode value : list) {
                if (!value.isIntegralNumber()) {
                    throw wrong(key, "a list of lists of integers");
                }
                values.add(value.intValue());
            }
            lists.add(values);
        }
        return lists;
    }

    /** A list of numbers; an absent key is an empty list, a single number a list of one. */
    public List<Double> doubles(String key) {
        List<Double> values = new ArrayList<>();
        JsonNode list = node.path(key);
        if (list.isNumber()) {
            values.add(list.doubleValue());
        }
        for (JsonNode value : list) {
            // Transformers 5 writes what JSON has no number for as {"__float__": "Infinity"}.
            JsonNode named = value.path("__float__");
            if (named.isTextual()) {
                values.add(Double.parseDouble(named.textValue()));
            } else if (value.isNumber()) {
                values.add(value.doubleValue());
            } else {
                throw wrong(key, "a list of numbers");
            }
        }
        return values;
    }

    public List<Integer> ints(String key) {
        return doubles(key).stream().map(Double::intValue).toList();
    }

    public List<String> texts(String key) {
        List<String> values = new ArrayList<>();
        node.path(key).forEach(value -> values.add(value.asText()));
        return values;
    }

    @Override
    public String toString() {
        return (path.isEmpty() ? "" : path + " of ") + source;
    }
}
