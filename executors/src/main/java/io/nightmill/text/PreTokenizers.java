package io.nightmill.text;

import java.util.List;
import java.util.Map;

/** The splitting patterns of byte-level vocabularies, by the names of GGUF's {@code tokenizer.ggml.pre}. */
public final class PreTokenizers {
    private static final String CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
    private static final String GPT2 =
            "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    private static final String LLAMA3 = CONTRACTIONS
            + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    public static final String QWEN2 = CONTRACTIONS
            + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final String QWEN35 = CONTRACTIONS
            + "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
            + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final String GPT4O =
            "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
                    + CONTRACTIONS
                    + "?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
                    + CONTRACTIONS + "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final String TEKKEN = GPT4O.replace(CONTRACTIONS + "?", "").replace("\\p{N}{1,3}", "\\p{N}");
    private static final String CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
    private static final List<String> DEEPSEEK_LLM = List.of(
            "[\\r\\n]",
            // Cased letters of the Latin, Greek, Cyrillic and kindred scripts.
            "\\s?[\\p{Lu}\\p{Ll}\\p{Lt}]+",
            "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
            "\\s+$",
            CJK,
            "\\p{N}+");
    private static final List<String> DEEPSEEK_CODER = List.of("[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}");
    private static final List<String> DEEPSEEK_V3 = List.of(
            "\\p{N}{1,3}",
            "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                    + "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+");
    private static final List<String> FALCON = List.of("[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]");
    private static final List<String> DIGITS = List.of("\\p{N}", GPT2);

    private static final Map<String, List<String>> ALL = Map.ofEntries(
            Map.entry("default", List.of(GPT2)),
            Map.entry("gpt-2", List.of(GPT2)),
            Map.entry("gpt-neox", List.of(GPT2)),
            Map.entry("mpt", List.of(GPT2)),
            Map.entry("olmo", List.of(GPT2)),
            Map.entry("dbrx", List.of(LLAMA3)),
            Map.entry("llama-bpe", List.of(LLAMA3)),
            Map.entry("llama-v3", List.of(LLAMA3)),
            Map.entry("llama3", List.of(LLAMA3)),
            Map.entry("smaug-bpe", List.of(LLAMA3)),
            Map.entry("falcon3", List.of(LLAMA3)),
            Map.entry("qwen2", List.of(QWEN2)),
            Map.entry("deepseek-r1-qwen", List.of(QWEN2)),
            Map.entry("stablelm2", List.of(QWEN2)),
            Map.entry("qwen35", List.of(QWEN35)),
            Map.entry("gpt-4o", List.of(GPT4O)),
            Map.entry("llama4", List.of(GPT4O)),
            Map.entry("tekken", List.of(TEKKEN)),
            Map.entry("deepseek-llm", DEEPSEEK_LLM),
            Map.entry("deepseek-coder", DEEPSEEK_CODER),
            Map.entry("deepseek-v3", DEEPSEEK_V3),
            Map.entry("falcon", FALCON),
            Map.entry("starcoder", DIGITS),
            Map.entry("refact", DIGITS),
            Map.entry("command-r", DIGITS),
            Map.entry("smollm", DIGITS),
            Map.entry("codeshell", DIGITS));

    private PreTokenizers() {}

    /** @throws IllegalArgumentException listing the known names */
    public static List<String> patterns(String name) {
        List<String> patterns = ALL.get(name);
        if (patterns == null) {
            throw new IllegalArgumentException("Cannot split text for the vocabulary '%s', known are %s"
                    .formatted(name, ALL.keySet().stream().sorted().toList()));
        }
        return patterns;
    }

    /** Llama 3's vocabularies take a whole word's token before any merge. */
    public static boolean ignoresMerges(String name) {
        return patterns(name).equals(List.of(LLAMA3)) && !name.equals("dbrx");
    }
}
