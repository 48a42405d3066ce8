package io.nightmill.runtime;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.engine.Sampling;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Sampling parameters as JSON under vLLM's names, with vLLM's defaults but for the temperature: 0, so that nights repeat. */
public final class SamplingJson {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    /** Every parameter's name. */
    public static final Set<String> NAMES = Set.of(
            "n",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "repetition_penalty",
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
            "stop",
            "stop_token_ids",
            "ignore_eos",
            "max_tokens",
            "min_tokens",
            "seed",
            "logprobs",
            "prompt_logprobs",
            "skip_special_tokens",
            "include_stop_str_in_output",
            "bad_words",
            "allowed_token_ids");

    private final ObjectNode node;

    private SamplingJson(ObjectNode node) {
        this.node = node;
    }

    /**
     * @param job the job's parameters
     * @param row a row's own, which go before the job's; null is none
     * @throws IllegalArgumentException naming the parameter, its value and what was expected
     */
    public static Sampling parse(String job, @Nullable String row) {
        ObjectNode merged = object(job);
        if (row != null) {
            object(row).fields().forEachRemaining(field -> {
                if (!field.getValue().isNull()) {
                    merged.set(field.getKey(), field.getValue());
                }
            });
        }
        return new SamplingJson(merged).sampling();
    }

    private static ObjectNode object(String json) {
        try {
            return (ObjectNode) MAPPER.readTree(json);
        } catch (com.fasterxml.jackson.core.JsonProcessingException | ClassCastException e) {
            throw new IllegalArgumentException("Cannot read sampling parameters " + json + ": expected an object", e);
        }
    }

    private Sampling sampling() {
        Set<String> unknown = new TreeSet<>();
        node.fieldNames().forEachRemaining(name -> {
            if (!NAMES.contains(name)) {
                unknown.add(name);
            }
        });
        if (!unknown.isEmpty()) {
            throw new IllegalArgumentException(
                    "Cannot use sampling parameters %s: known are %s".formatted(unknown, new TreeSet<>(NAMES)));
        }
        int minTokens = integer("min_tokens", 0);
        return new Sampling(
                integer("n", 1),
                real("temperature", 0),
                real("top_p", 1),
                integer("top_k", 0),
                real("min_p", 0),
                real("repetition_penalty", 1),
                real("presence_penalty", 0),
                real("frequency_penalty", 0),
                biases(),
                texts("stop"),
                ids("stop_token_ids"),
                flag("ignore_eos", false),
                integer("max_tokens", 16),
                minTokens,
                whole("seed", 0),
                optional("logprobs"),
                optional("prompt_logprobs"),
                flag("skip_special_tokens", true),
                flag("include_stop_str_in_output", false),
                texts("bad_words"),
                ids("allowed_token_ids"));
    }

    private IllegalArgumentException wrong(String name, String expected) {
        return new IllegalArgumentException("Cannot use %s %s: expected %s".formatted(name, node.get(name), expected));
    }

    private int integer(String name, int otherwise) {
        long value = whole(name, otherwise);
        if (value != (int) value) {
            throw wrong(name, "an integer of 32 bits");
        }
        return (int) value;
    }

    private long whole(String name, long otherwise) {
        if (!node.hasNonNull(name)) {
            return otherwise;
        }
        if (!node.get(name).isIntegralNumber()) {
            throw wrong(name, "an integer");
        }
        return node.get(name).longValue();
    }

    private @Nullable Integer optional(String name) {
        return node.hasNonNull(name) ? integer(name, 0) : null;
    }

    private double real(String name, double otherwise) {
        if (!node.hasNonNull(name)) {
            return otherwise;
        }
        if (!node.get(name).isNumber()) {
            throw wrong(name, "a number");
        }
        return node.get(name).doubleValue();
    }

    private boolean flag(String name, boolean otherwise) {
        if (!node.hasNonNull(name)) {
            return otherwise;
        }
        if (!node.get(name).isBoolean()) {
            throw wrong(name, "true or false");
        }
        return node.get(name).booleanValue();
    }

    private List<String> texts(String name) {
        List<String> values = new ArrayList<>();
        JsonNode list = node.path(name);
        if (list.isTextual()) {
            return List.of(list.textValue());
        }
        if (!list.isArray() && node.hasNonNull(name)) {
            throw wrong(name, "a string or a list of strings");
        }
        for (JsonNode value : list) {
            if (!value.isTextual()) {
                throw wrong(name, "a string or a list of strings");
            }
            values.add(value.textValue());
        }
        return List.copyOf(values);
    }

    private List<Integer> ids(String name) {
        List<Integer> values = new ArrayList<>();
        if (!node.path(name).isArray() && node.hasNonNull(name)) {
            throw wrong(name, "a list of token ids");
        }
        for (JsonNode value : node.path(name)) {
            if (!value.canConvertToInt() || !value.isIntegralNumber()) {
                throw wrong(name, "a list of token ids");
            }
            values.add(value.intValue());
        }
        return List.copyOf(values);
    }

    private Map<Integer, Double> biases() {
        Map<Integer, Double> values = new LinkedHashMap<>();
        if (!node.path("logit_bias").isObject() && node.hasNonNull("logit_bias")) {
            throw wrong("logit_bias", "an object of token id to number");
        }
        node.path("logit_bias").fields().forEachRemaining(field -> {
            if (!field.getKey().matches("\\d{1,9}") || !field.getValue().isNumber()) {
                throw wrong("logit_bias", "an object of token id to number");
            }
            values.put(Integer.parseInt(field.getKey()), field.getValue().doubleValue());
        });
        return values;
    }
}
