package io.nightmill.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** A {@code tokenizer.json} run by Hugging Face's tokenizers library, through DJL. */
public final class HuggingFaceTokenizer implements Tokenizer {
    private static final List<String> PARTS = List.of("normalizer", "pre_tokenizer", "post_processor", "decoder");
    private static final List<String> LISTS = List.of("normalizers", "pretokenizers", "processors", "decoders");
    private static final int DEEPEST = 16;
    /** What the library knows, of every part. */
    private static final Set<String> TYPES = new TreeSet<>(Set.of(
            "BertNormalizer",
            "Strip",
            "StripAccents",
            "NFC",
            "NFD",
            "NFKC",
            "NFKD",
            "Sequence",
            "Lowercase",
            "Nmt",
            "Precompiled",
            "Replace",
            "Prepend",
            "ByteLevel",
            "BertPreTokenizer",
            "Delimiter",
            "CharDelimiterSplit",
            "Metaspace",
            "Whitespace",
            "Split",
            "Punctuation",
            "WhitespaceSplit",
            "Digits",
            "UnicodeScripts",
            "FixedLength",
            "RobertaProcessing",
            "BertProcessing",
            "TemplateProcessing",
            "BPEDecoder",
            "WordPiece",
            "CTC",
            "Fuse",
            "ByteFallback"));

    private static final Map<String, String> AS_IT_IS = Map.of("truncation", "false", "padding", "false");

    private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer tokenizer;
    private final int vocabularySize;

    /**
     * @param json the content of a tokenizer.json
     * @param vocabularySize ids below this are valid
     * @throws IllegalArgumentException if the library refuses it
     */
    public HuggingFaceTokenizer(byte[] json, int vocabularySize) {
        requireSound(json);
        // Usage statistics would be sent over the network.
        System.setProperty("OPT_OUT_TRACKING", "true");
        try {
            this.tokenizer = ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.newInstance(
                    new ByteArrayInputStream(json), AS_IT_IS);
        } catch (IOException | RuntimeException e) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: " + e.getMessage(), e);
        }
        this.vocabularySize = vocabularySize;
    }

    /**
     * The library ends the process where a part of the file is not of the shape that it expects, so that is looked at here.
     *
     * @throws IllegalArgumentException naming the part
     */
    private static void requireSound(byte[] json) {
        JsonNode root;
        try {
            root = new ObjectMapper().readTree(json);
        } catch (IOException e) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: it is not JSON: " + e.getMessage(), e);
        }
        if (root == null || !root.isObject() || !root.path("model").isObject()) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: expected an object with a model");
        }
        for (String part : PARTS) {
            requireComponent(part, root.path(part), 0);
        }
    }

    private static void requireComponent(String name, JsonNode component, int depth) {
        if (component.isMissingNode() || component.isNull()) {
            return;
        }
        if (!component.isObject() || !component.path("type").isTextual() || depth > DEEPEST) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: %s is %s, expected an object with a type"
                    .formatted(name, head(component)));
        }
        String type = component.path("type").asText();
        if (!TYPES.contains(type)) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: %s has the type '%s', expected one of %s"
                    .formatted(name, type, TYPES));
        }
        for (String list : LISTS) {
            for (JsonNode one : component.path(list)) {
                requireComponent(name + "." + list, one, depth + 1);
            }
        }
    }

    private static String head(JsonNode node) {
        String text = node.toString();
        return text.length() > 80 ? text.substring(0, 80) + "…" : text;
    }

    @Override
    public int[] encode(String text, boolean special) {
        long[] ids = tokenizer.encode(text, special, false).getIds();
        return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
    }

    @Override
    public String decode(int[] ids, boolean skipSpecial) {
        return ids.length == 0
                ? ""
                : tokenizer.decode(Arrays.stream(ids).asLongStream().toArray(), skipSpecial);
    }

    @Override
    public int vocabularySize() {
        return vocabularySize;
    }
}
