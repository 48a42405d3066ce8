package io.nightmill.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** vLLM's sampling parameters as options; one that is not given keeps vLLM's default. */
final class SamplingOptions {
    @Option(names = "--n", description = "outputs per prompt (default: 1)")
    @Nullable
    Integer n;

    @Option(names = "--temperature", description = "0 is greedy (default: 0; vLLM's is 1)")
    @Nullable
    Double temperature;

    @Option(names = "--top-p", description = "(default: 1)")
    @Nullable
    Double topP;

    @Option(names = "--top-k", description = "0 or -1 is all (default: 0)")
    @Nullable
    Integer topK;

    @Option(names = "--min-p", description = "(default: 0)")
    @Nullable
    Double minP;

    @Option(names = "--repetition-penalty", description = "(default: 1)")
    @Nullable
    Double repetitionPenalty;

    @Option(names = "--presence-penalty", description = "(default: 0)")
    @Nullable
    Double presencePenalty;

    @Option(names = "--frequency-penalty", description = "(default: 0)")
    @Nullable
    Double frequencyPenalty;

    @Option(names = "--logit-bias", paramLabel = "JSON", description = "object of token id to bias")
    @Nullable
    String logitBias;

    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            description = "a string that ends an output; may be given several times")
    @Nullable
    List<String> stop;

    @Option(names = "--stop-token-ids", split = ",", paramLabel = "ID,ID")
    @Nullable
    List<Integer> stopTokenIds;

    @Option(
            names = "--ignore-eos",
            arity = "0..1",
            fallbackValue = "true",
            description = "go on after the end token (default: false)")
    @Nullable
    Boolean ignoreEos;

    @Option(names = "--max-tokens", description = "(default: 16)")
    @Nullable
    Integer maxTokens;

    @Option(names = "--min-tokens", description = "(default: 0)")
    @Nullable
    Integer minTokens;

    @Option(names = "--seed", description = "with the row's id it fixes the random stream (default: 0)")
    @Nullable
    Long seed;

    @Option(names = "--logprobs", description = "alternatives to report per token (default: none)")
    @Nullable
    Integer logprobs;

    @Option(names = "--prompt-logprobs", description = "the same for the prompt (default: none)")
    @Nullable
    Integer promptLogprobs;

    @Option(names = "--skip-special-tokens", arity = "0..1", fallbackValue = "true", description = "(default: true)")
    @Nullable
    Boolean skipSpecialTokens;

    @Option(
            names = "--include-stop-str-in-output",
            arity = "0..1",
            fallbackValue = "true",
            description = "(default: false)")
    @Nullable
    Boolean includeStopStrInOutput;

    @Option(names = "--bad-words", paramLabel = "TEXT", description = "may be given several times")
    @Nullable
    List<String> badWords;

    @Option(names = "--allowed-token-ids", split = ",", paramLabel = "ID,ID")
    @Nullable
    List<Integer> allowedTokenIds;

    String json() {
        ObjectMapper mapper = new ObjectMapper();
        ObjectNode node = mapper.createObjectNode();
        node.put("n", n)
                .put("temperature", temperature)
                .put("top_p", topP)
                .put("top_k", topK)
                .put("min_p", minP);
        node.put("repetition_penalty", repetitionPenalty).put("presence_penalty", presencePenalty);
        node.put("frequency_penalty", frequencyPenalty)
                .put("ignore_eos", ignoreEos)
                .put("max_tokens", maxTokens);
        node.put("min_tokens", minTokens).put("seed", seed).put("logprobs", logprobs);
        node.put("prompt_logprobs", promptLogprobs).put("skip_special_tokens", skipSpecialTokens);
        node.put("include_stop_str_in_output", includeStopStrInOutput);
        putTexts(node, "stop", stop);
        putTexts(node, "bad_words", badWords);
        putIds(node, "stop_token_ids", stopTokenIds);
        putIds(node, "allowed_token_ids", allowedTokenIds);
        if (logitBias != null) {
            try {
                node.set("logit_bias", mapper.readTree(logitBias));
            } catch (JsonProcessingException e) {
                throw new IllegalArgumentException(
                        "Cannot read --logit-bias %s: expected a JSON object of token id to number"
                                .formatted(logitBias),
                        e);
            }
        }
        ObjectNode given = mapper.createObjectNode();
        node.fields().forEachRemaining(field -> {
            if (!field.getValue().isNull()) {
                given.set(field.getKey(), field.getValue());
            }
        });
        return given.toString();
    }

    private static void putTexts(ObjectNode node, String name, @Nullable List<String> values) {
        if (values != null) {
            ArrayNode list = node.putArray(name);
            values.forEach(list::add);
        }
    }

    private static void putIds(ObjectNode node, String name, @Nullable List<Integer> values) {
        if (values != null) {
            ArrayNode list = node.putArray(name);
            values.forEach(list::add);
        }
    }
}
