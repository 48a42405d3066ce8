package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.jspecify.annotations.Nullable;

/** A task's {@code generation_kwargs} as sampling parameters. */
final class Generation {
    private static final List<String> MAX_TOKENS =
            List.of("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens");
    private static final Set<String> KNOWN = new TreeSet<>(Set.of(
            "until",
            "do_sample",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "repetition_penalty",
            "seed",
            "max_gen_toks",
            "max_new_tokens",
            "max_tokens",
            "max_completion_tokens"));
    private static final int DEFAULT_MAX_TOKENS = 256;

    private Generation() {}

    /** @throws IllegalArgumentException naming a key that is not known */
    static void require(EvalTask task) {
        task.generation().fieldNames().forEachRemaining(key -> {
            if (!KNOWN.contains(key)) {
                throw new IllegalArgumentException(
                        "generation_kwargs has the key '%s', expected one of %s".formatted(key, KNOWN));
            }
        });
    }

    static int maxTokens(EvalTask task) {
        return MAX_TOKENS.stream()
                .filter(task.generation()::has)
                .findFirst()
                .map(name -> task.generation().path(name).asInt())
                .orElse(DEFAULT_MAX_TOKENS);
    }

    static boolean samples(EvalTask task) {
        JsonNode given = task.generation().path("do_sample");
        double temperature = task.generation().path("temperature").asDouble(0);
        return given.isBoolean() ? given.asBoolean() : temperature > 0;
    }

    /** Answers that the model is asked for; a greedy one is the same every time. */
    static int samplesPerDocument(EvalTask task) {
        return samples(task) ? task.repeats() : 1;
    }

    static List<String> until(EvalTask task) {
        List<String> until = new ArrayList<>();
        JsonNode given = task.generation().path("until");
        (given.isArray() ? given : List.of(given)).forEach(stop -> {
            if (stop.isTextual() && !stop.asText().isEmpty()) {
                until.add(stop.asText());
            }
        });
        return until;
    }

    /** A row of {@link InstanceTask#REQUEST}. */
    static Row request(EvalTask task, int[] ids) {
        ObjectNode kwargs = task.generation();
        boolean samples = samples(task);
        return RowFactory.create(
                Arrays.stream(ids).boxed().toArray(),
                null,
                until(task).toArray(),
                maxTokens(task),
                samplesPerDocument(task),
                samples ? kwargs.path("temperature").asDouble(1) : 0.0,
                samples ? number(kwargs, "top_p") : null,
                samples && kwargs.has("top_k") ? kwargs.path("top_k").asInt() : null,
                samples ? number(kwargs, "min_p") : null,
                number(kwargs, "repetition_penalty"),
                kwargs.has("seed") ? kwargs.path("seed").asLong() : null);
    }

    private static @Nullable Double number(ObjectNode kwargs, String name) {
        return kwargs.has(name) ? kwargs.path(name).asDouble() : null;
    }
}
