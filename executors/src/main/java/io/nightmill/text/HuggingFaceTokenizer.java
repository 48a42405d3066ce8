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
    private static final List<String> LISTS = List.of("normalizers", "pretokenizers", "processors", "decoders");
    private static final int DEEPEST = 16;
    /** What the library knows of each part. */
    private static final Map<String, Set<String>> PARTS = Map.of(
            "normalizer",
            names(
                    "BertNormalizer Strip StripAccents NFC NFD NFKC NFKD Sequence Lowercase Nmt Precompiled Replace Prepend ByteLevel"),
            "pre_tokenizer",
            names(
                    "BertPreTokenizer ByteLevel CharDelimiterSplit Delimiter Metaspace Whitespace Sequence Split Punctuation"
                            + " WhitespaceSplit Digits UnicodeScripts FixedLength"),
            "post_processor",
            names("RobertaProcessing BertProcessing ByteLevel TemplateProcessing Sequence"),
            "decoder",
            names("BPEDecoder ByteLevel WordPiece Metaspace CTC Sequence Replace Fuse Strip ByteFallback"));

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
        PARTS.forEach((part, types) -> requireComponent(part, types, root.path(part), 0));
    }

    private static Set<String> names(String list) {
        return new TreeSet<>(Set.of(list.split(" ")));
    }

    private static void requireComponent(String name, Set<String> types, JsonNode component, int depth) {
        if (component.isMissingNode() || component.isNull()) {
            return;
        }
        if (!component.isObject() || !component.path("type").isTextual() || depth > DEEPEST) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: %s is %s, expected an object with a type"
                    .formatted(name, head(component)));
        }
        String type = component.path("type").asText();
        if (!types.contains(type)) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: %s has the type '%s', expected one of %s"
                    .formatted(name, type, types));
        }
        requireTemplate(component, "single", List.of("A"));
        requireTemplate(component, "pair", List.of("A", "B"));
        for (String list : LISTS) {
            for (JsonNode one : component.path(list)) {
                requireComponent(name + "." + list, types, one, depth + 1);
            }
        }
    }

    /** Every piece of a template is one of the sequences that it is made of, or a special token that is explained. */
    private static void requireTemplate(JsonNode processor, String name, List<String> sequences) {
        for (JsonNode piece : processor.path(name)) {
            JsonNode token = processor
                    .path("special_tokens")
                    .path(piece.at("/SpecialToken/id").asText());
            boolean isToken = piece.has("SpecialToken")
                    && !token.path("ids").isEmpty()
                    && token.path("ids").size() == token.path("tokens").size();
            boolean isSequence = sequences.contains(piece.at("/Sequence/id").asText());
            if (piece.isObject() && !isToken && !isSequence) {
                throw new IllegalArgumentException(
                        "Cannot read tokenizer.json: the template '%s' has the piece %s, expected a sequence of %s or one of its special tokens"
                                .formatted(name, head(piece), sequences));
            }
        }
    }

    private static String head(JsonNode node) {
        String text = node.toString();
        return text.length() > 80 ? text.substring(0, 80) + "…" : text;
    }

    @Override
    public int[] encode(String text, boolean special) {
        try {
            long[] ids = tokenizer.encode(text, special, false).getIds();
            return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
        } catch (RuntimeException e) {
            // A vocabulary may lack what its own rules name.
            throw new IllegalArgumentException("Cannot encode by this tokenizer.json: " + e.getMessage(), e);
        }
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
