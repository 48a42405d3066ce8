package io.nightmill.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.text.ChatTemplate;
import io.nightmill.text.HuggingFaceTokenizer;
import io.nightmill.text.RwkvTokenizer;
import io.nightmill.text.SentencePieceModel;
import io.nightmill.text.Tokenizer;
import io.nightmill.text.TokenizerJson;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Gguf;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * What of a model concerns text: everything but its weights.
 *
 * @param tokenizer null where the checkpoint has none: then prompts are token ids
 * @param template source of the chat template, or null
 * @param specialTokens JSON object of the tokens that the template may name
 * @param endTokens tokens that end an output
 * @param contextLength tokens that prompt and output may have together
 */
public record ModelText(
        ConfigNode config,
        @Nullable Tokenizer tokenizer,
        @Nullable String template,
        String specialTokens,
        Set<Integer> endTokens,
        int contextLength,
        int vocabulary) {

    private static final String RWKV_VOCABULARY = "rwkv_vocab_v20230424.txt";
    private static final Set<String> ENDS_BY_CONFIG = Set.of("Llama", "CodeLlama", "Gemma", "Cohere", "GPTNeoX");
    private static final List<String> SPECIAL = List.of("bos_token", "eos_token", "unk_token", "pad_token");

    /** @throws IllegalArgumentException if there is no template, or it is not one */
    public ChatTemplate chatTemplate() {
        if (template == null) {
            throw new IllegalArgumentException(
                    "Cannot render messages: the model has no chat template (tokenizer_config.json, chat_template.jinja"
                            + " or tokenizer.chat_template)");
        }
        return new ChatTemplate(template, specialTokens);
    }

    /**
     * A text with the tokens that the model begins with.
     *
     * @throws IllegalArgumentException if there is no tokenizer
     */
    public int[] encode(String text) {
        if (tokenizer == null) {
            throw new IllegalArgumentException(
                    "Cannot read text: the model has no tokenizer (tokenizer.json, tokenizer.model or tokenizer.ggml.tokens)");
        }
        return tokenizer.encode(text, true);
    }

    static ModelText of(Gguf file) {
        GgufModel model = new GgufModel(file);
        ConfigNode config = model.config();
        ObjectNode special = new ObjectMapper().createObjectNode();
        special.put("bos_token", model.token("bos_token_id")).put("eos_token", model.token("eos_token_id"));
        return new ModelText(
                config,
                GgufModel.tokenizer(file),
                file.text("tokenizer.chat_template").orElse(null),
                special.toString(),
                model.endTokens(),
                Ropes.contextLength(config),
                config.requireInt("vocab_size"));
    }

    /** Of a Hugging Face folder. */
    static ModelText of(Path folder) {
        ConfigNode config = Defaults.fill(ConfigNode.read(folder.resolve("config.json")));
        ConfigNode tokenizerConfig = optional(folder.resolve("tokenizer_config.json"));
        Set<Integer> ends = new TreeSet<>(config.ints("eos_token_id"));
        ends.addAll(optional(folder.resolve("generation_config.json")).ints("eos_token_id"));
        ObjectNode special = new ObjectMapper().createObjectNode();
        for (String name : SPECIAL) {
            String token = token(tokenizerConfig, name);
            special.put(name, token == null ? "" : token);
        }
        int vocabulary = config.requireInt("vocab_size");
        return new ModelText(
                config,
                tokenizer(folder, tokenizerConfig, vocabulary),
                template(folder, tokenizerConfig),
                special.toString(),
                ends,
                Ropes.contextLength(config),
                vocabulary);
    }

    private static ConfigNode optional(Path file) {
        return Files.exists(file)
                ? ConfigNode.read(file)
                : ConfigNode.of(new ObjectMapper().createObjectNode(), file.toString());
    }

    private static @Nullable Tokenizer tokenizer(Path folder, ConfigNode config, int vocabulary) {
        try {
            if (Files.exists(folder.resolve("tokenizer.json"))) {
                byte[] json = Files.readAllBytes(folder.resolve("tokenizer.json"));
                return new HuggingFaceTokenizer(ends(json, config), vocabulary);
            }
            if (Files.exists(folder.resolve("tokenizer.model"))) {
                byte[] model = Files.readAllBytes(folder.resolve("tokenizer.model"));
                boolean begins = config.booleanOr("add_bos_token", true);
                return new HuggingFaceTokenizer(SentencePieceModel.toTokenizerJson(model, begins), vocabulary);
            }
            if (Files.exists(folder.resolve(RWKV_VOCABULARY))) {
                return new RwkvTokenizer(Files.readAllLines(folder.resolve(RWKV_VOCABULARY)), vocabulary);
            }
            return null;
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read the tokenizer of " + folder, e);
        }
    }

    /**
     * transformers 4, vLLM and llama.cpp take what tokenizer_config.json says of begin and end tokens for some classes, whatever
     * tokenizer.json says: DeepSeek's begin token is only there.
     */
    private static byte[] ends(byte[] json, ConfigNode config) {
        String kind = config.textOr("tokenizer_class", "").replaceAll("Tokenizer(Fast)?$", "");
        if (!ENDS_BY_CONFIG.contains(kind) || !config.has("add_bos_token")) {
            return json;
        }
        String begin = config.booleanOr("add_bos_token", false) ? token(config, "bos_token") : null;
        String end = config.booleanOr("add_eos_token", false) ? token(config, "eos_token") : null;
        return TokenizerJson.around(json, begin, end);
    }

    private static @Nullable String token(ConfigNode config, String name) {
        JsonNode token = config.json().path(name);
        return token.isObject() ? token.path("content").textValue() : token.textValue();
    }

    /** A file of its own, or the configuration's one template, or the one that it calls "default". */
    private static @Nullable String template(Path folder, ConfigNode config) {
        Path file = folder.resolve("chat_template.jinja");
        try {
            if (Files.exists(file)) {
                return Files.readString(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read " + file, e);
        }
        JsonNode template = config.json().path("chat_template");
        for (JsonNode named : template) {
            if (named.path("name").asText().equals("default")) {
                return named.path("template").asText();
            }
        }
        return template.isTextual() ? template.textValue() : null;
    }
}
