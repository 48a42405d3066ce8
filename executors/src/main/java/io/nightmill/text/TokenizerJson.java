package io.nightmill.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.text.Vocabulary.Kind;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Other vocabularies as the {@code tokenizer.json} of Hugging Face's tokenizers library. */
public final class TokenizerJson {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final String SPACE = "\u2581";

    private TokenizerJson() {}

    /** Byte-level BPE (GPT-2 and all since), split first by each pattern in turn. */
    public static byte[] byteLevel(Vocabulary vocabulary, List<String> patterns, boolean ignoreMerges, boolean nfc) {
        ObjectNode root = root(vocabulary);
        ObjectNode model = root.putObject("model");
        model.put("type", "BPE").put("ignore_merges", ignoreMerges);
        putVocabulary(model, vocabulary.pieces());
        ArrayNode merges = model.putArray("merges");
        vocabulary.merges().forEach(merges::add);
        if (nfc) {
            root.putObject("normalizer").put("type", "NFC");
        }
        ArrayNode steps = sequence(root.putObject("pre_tokenizer"), "pretokenizers");
        for (String pattern : patterns) {
            ObjectNode split = steps.addObject().put("type", "Split").put("behavior", "Isolated");
            split.put("invert", false).putObject("pattern").put("Regex", pattern);
        }
        byteLevel(steps.addObject());
        byteLevel(root.putObject("decoder"));
        return bytes(root, vocabulary);
    }

    private static void byteLevel(ObjectNode node) {
        node.put("type", "ByteLevel").put("add_prefix_space", false);
        node.put("trim_offsets", true).put("use_regex", false);
    }

    /**
     * SentencePiece's BPE: pieces are joined by score, unknown characters become bytes where the vocabulary has them.
     *
     * @param prefix whether a space is put before the text
     */
    public static byte[] sentencePieceBpe(
            Vocabulary vocabulary, boolean prefix, @Nullable Normalization normalization) {
        ObjectNode root = root(vocabulary);
        ObjectNode model = root.putObject("model");
        boolean bytes = List.of(vocabulary.kinds()).contains(Kind.BYTE);
        model.put("type", "BPE").put("fuse_unk", true).put("byte_fallback", bytes);
        model.put("unk_token", vocabulary.piece(vocabulary.unknown()));
        putVocabulary(model, vocabulary.pieces());
        ArrayNode merges = model.putArray("merges");
        for (Merge merge : merges(vocabulary)) {
            merges.addArray().add(merge.left).add(merge.right);
        }
        ArrayNode steps = sequence(root.putObject("normalizer"), "normalizers");
        if (normalization != null) {
            normalization.addTo(steps);
        }
        if (prefix) {
            steps.addObject().put("type", "Prepend").put("prepend", SPACE);
        }
        replace(steps.addObject(), " ", SPACE);
        decoder(root, prefix);
        return bytes(root, vocabulary);
    }

    /** SentencePiece's unigram model (Kudo 2018, arXiv 1804.10959). */
    public static byte[] unigram(Vocabulary vocabulary, boolean prefix, @Nullable Normalization normalization) {
        ObjectNode root = root(vocabulary, kind -> kind == Kind.CONTROL || kind == Kind.UNKNOWN);
        ObjectNode model = root.putObject("model");
        model.put("type", "Unigram").put("unk_id", vocabulary.unknown());
        model.put("byte_fallback", List.of(vocabulary.kinds()).contains(Kind.BYTE));
        ArrayNode pieces = model.putArray("vocab");
        float best = Float.NEGATIVE_INFINITY;
        for (int id = 0; id < vocabulary.pieces().size(); id++) {
            best = vocabulary.kinds()[id] == Kind.NORMAL
                    ? Math.max(best, vocabulary.scores()[id])
                    : best;
        }
        for (int id = 0; id < vocabulary.pieces().size(); id++) {
            pieces.addArray().add(vocabulary.pieces().get(id)).add(score(vocabulary, id, best));
        }
        ArrayNode steps = sequence(root.putObject("normalizer"), "normalizers");
        if (normalization != null) {
            normalization.addTo(steps);
        }
        ObjectNode metaspace = root.putObject("pre_tokenizer");
        metaspace.put("type", "Metaspace").put("replacement", SPACE);
        metaspace.put("prepend_scheme", prefix ? "always" : "never").put("split", false);
        decoder(root, prefix);
        return bytes(root, vocabulary);
    }

    /** SentencePiece always prefers user-defined pieces: it scores them as if each of their bytes were the best piece. */
    private static double score(Vocabulary vocabulary, int id, float best) {
        int bytes = vocabulary.pieces().get(id).getBytes(StandardCharsets.UTF_8).length;
        return vocabulary.kinds()[id] == Kind.USER_DEFINED
                ? bytes * best - 0.1
                : vocabulary.scores()[id];
    }

    /** BERT's WordPiece; GGUF marks beginnings of words where BERT marks continuations. */
    public static byte[] wordPiece(Vocabulary vocabulary) {
        ObjectNode root = root(vocabulary);
        ObjectNode model = root.putObject("model");
        model.put("type", "WordPiece").put("continuing_subword_prefix", "##").put("max_input_chars_per_word", 100);
        model.put("unk_token", vocabulary.piece(vocabulary.unknown()));
        List<String> pieces = new ArrayList<>();
        for (int id = 0; id < vocabulary.pieces().size(); id++) {
            String piece = vocabulary.pieces().get(id);
            boolean begins = piece.startsWith(SPACE);
            boolean special = vocabulary.kinds()[id] != Kind.NORMAL || piece.startsWith("[") && piece.endsWith("]");
            pieces.add(begins ? piece.substring(1) : special ? piece : "##" + piece);
        }
        putVocabulary(model, pieces);
        ObjectNode normalizer = root.putObject("normalizer").put("type", "BertNormalizer");
        normalizer.put("clean_text", true).put("handle_chinese_chars", true);
        normalizer.put("strip_accents", true).put("lowercase", true);
        root.putObject("pre_tokenizer").put("type", "BertPreTokenizer");
        ObjectNode decoder = root.putObject("decoder").put("type", "WordPiece");
        decoder.put("prefix", "##").put("cleanup", false);
        return bytes(root, vocabulary);
    }

    /**
     * SentencePiece's own normalization.
     *
     * @param charsMap its compiled rules, base64; empty is none
     * @param squeezes whether spaces are trimmed and runs of them made one
     */
    public record Normalization(String charsMap, boolean squeezes) {
        private void addTo(ArrayNode steps) {
            if (!charsMap.isEmpty()) {
                steps.addObject().put("type", "Precompiled").put("precompiled_charsmap", charsMap);
            }
            if (squeezes) {
                ObjectNode ends = steps.addObject().put("type", "Replace").put("content", "");
                ends.putObject("pattern").put("Regex", "\\A +| +\\z");
                ObjectNode runs = steps.addObject().put("type", "Replace").put("content", " ");
                runs.putObject("pattern").put("Regex", " {2,}");
            }
        }
    }

    private static ObjectNode root(Vocabulary vocabulary) {
        return root(vocabulary, kind -> kind == Kind.CONTROL || kind == Kind.USER_DEFINED || kind == Kind.UNKNOWN);
    }

    /** @param added kinds of pieces that are cut out of a text before anything else */
    private static ObjectNode root(Vocabulary vocabulary, Predicate<Kind> added) {
        ObjectNode root = MAPPER.createObjectNode().put("version", "1.0");
        ArrayNode tokens = root.putArray("added_tokens");
        for (int id = 0; id < vocabulary.pieces().size(); id++) {
            Kind kind = vocabulary.kinds()[id];
            if (added.test(kind)) {
                ObjectNode token = tokens.addObject()
                        .put("id", id)
                        .put("content", vocabulary.pieces().get(id));
                token.put("single_word", false).put("lstrip", false).put("rstrip", false);
                token.put("normalized", false).put("special", kind != Kind.USER_DEFINED);
            }
        }
        return root;
    }

    private static void putVocabulary(ObjectNode model, List<String> pieces) {
        ObjectNode vocab = model.putObject("vocab");
        for (int id = 0; id < pieces.size(); id++) {
            vocab.put(pieces.get(id), id);
        }
    }

    private static ArrayNode sequence(ObjectNode node, String list) {
        return node.put("type", "Sequence").putArray(list);
    }

    private static void replace(ObjectNode node, String from, String to) {
        node.put("type", "Replace").put("content", to).putObject("pattern").put("String", from);
    }

    private static void decoder(ObjectNode root, boolean prefix) {
        ArrayNode steps = sequence(root.putObject("decoder"), "decoders");
        replace(steps.addObject(), SPACE, " ");
        steps.addObject().put("type", "ByteFallback");
        steps.addObject().put("type", "Fuse");
        if (prefix) {
            steps.addObject()
                    .put("type", "Strip")
                    .put("content", " ")
                    .put("start", 1)
                    .put("stop", 0);
        }
    }

    private record Merge(String left, String right, float score, int leftId, int rightId) {}

    /** Every way to make a piece of two others, best piece first. */
    private static List<Merge> merges(Vocabulary vocabulary) {
        Map<String, Integer> ids = new HashMap<>();
        for (int id = 0; id < vocabulary.pieces().size(); id++) {
            ids.put(vocabulary.pieces().get(id), id);
        }
        List<Merge> merges = new ArrayList<>();
        for (int id = 0; id < vocabulary.pieces().size(); id++) {
            String piece = vocabulary.pieces().get(id);
            if (vocabulary.kinds()[id] != Kind.NORMAL) {
                continue;
            }
            for (int at = 1; at < piece.length(); at++) {
                Integer left = ids.get(piece.substring(0, at));
                Integer right = ids.get(piece.substring(at));
                if (left != null && right != null) {
                    merges.add(new Merge(
                            piece.substring(0, at),
                            piece.substring(at),
                            vocabulary.scores()[id],
                            left,
                            right));
                }
            }
        }
        merges.sort(Comparator.comparingDouble((Merge merge) -> -merge.score)
                .thenComparingInt(Merge::leftId)
                .thenComparingInt(Merge::rightId));
        return merges;
    }

    /**
     * A {@code tokenizer.json} with these begin and end tokens around every text, in place of what it puts there itself.
     *
     * @throws IllegalArgumentException if the file is not JSON, or has no such token
     */
    public static byte[] around(byte[] json, @Nullable String begin, @Nullable String end) {
        try {
            if (!(MAPPER.readTree(json) instanceof ObjectNode root)) {
                throw new IllegalArgumentException("Cannot read tokenizer.json: expected an object");
            }
            root.putNull("post_processor");
            around(root, begin, id(root, begin), end, id(root, end));
            return MAPPER.writeValueAsBytes(root);
        } catch (IOException e) {
            throw new IllegalArgumentException("Cannot read tokenizer.json: it is not JSON: " + e.getMessage(), e);
        }
    }

    private static int id(ObjectNode root, @Nullable String token) {
        if (token == null) {
            return -1;
        }
        for (JsonNode added : root.path("added_tokens")) {
            if (added.path("content").asText().equals(token)) {
                return added.path("id").asInt();
            }
        }
        JsonNode id = root.path("model").path("vocab").path(token);
        if (!id.isInt()) {
            throw new IllegalArgumentException(
                    "Cannot use the token '%s' of tokenizer_config.json: tokenizer.json has none".formatted(token));
        }
        return id.asInt();
    }

    private static void around(ObjectNode root, @Nullable String begin, int beginId, @Nullable String end, int endId) {
        if (begin == null && end == null) {
            return;
        }
        ObjectNode post = root.putObject("post_processor").put("type", "TemplateProcessing");
        ObjectNode special = MAPPER.createObjectNode();
        for (String form : List.of("single", "pair")) {
            ArrayNode parts = post.putArray(form);
            special(parts, special, begin, beginId);
            parts.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
            if (form.equals("pair")) {
                parts.addObject().putObject("Sequence").put("id", "B").put("type_id", 0);
            }
            special(parts, special, end, endId);
        }
        post.set("special_tokens", special);
    }

    /** The whole file, with begin and end tokens put around every text. */
    private static byte[] bytes(ObjectNode root, Vocabulary vocabulary) {
        around(
                root,
                vocabulary.piece(vocabulary.begin()),
                vocabulary.begin(),
                vocabulary.piece(vocabulary.end()),
                vocabulary.end());
        try {
            return MAPPER.writeValueAsBytes(root);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void special(ArrayNode parts, ObjectNode special, @Nullable String token, int id) {
        if (token == null) {
            return;
        }
        parts.addObject().putObject("SpecialToken").put("id", token).put("type_id", 0);
        ObjectNode entry = special.putObject(token).put("id", token);
        entry.putArray("ids").add(id);
        entry.putArray("tokens").add(token);
    }
}
