package io.nightmill.text;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Map;

/** A {@code tokenizer.json} run by Hugging Face's tokenizers library, through DJL. */
public final class HuggingFaceTokenizer implements Tokenizer {
    private static final Map<String, String> AS_IT_IS = Map.of("truncation", "false", "padding", "false");

    private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer tokenizer;
    private final int vocabularySize;

    /**
     * @param json the content of a tokenizer.json
     * @param vocabularySize ids below this are valid
     * @throws IllegalArgumentException if the library refuses it
     */
    public HuggingFaceTokenizer(byte[] json, int vocabularySize) {
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
