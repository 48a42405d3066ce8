package io.nightmill.models;

import io.nightmill.layers.Decoder;
import io.nightmill.text.ChatTemplate;
import io.nightmill.text.Tokenizer;
import io.nightmill.weights.ConfigNode;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A loaded model.
 *
 * @param tokenizer null where the checkpoint has none: then prompts are token ids
 * @param template null where the checkpoint has none: then prompts are text
 * @param endTokens tokens that end an output
 * @param contextLength tokens that prompt and output may have together
 */
public record Model(
        ConfigNode config,
        Decoder decoder,
        @Nullable Tokenizer tokenizer,
        @Nullable ChatTemplate template,
        Set<Integer> endTokens,
        int contextLength,
        long parameters,
        long weightBytes) {}
