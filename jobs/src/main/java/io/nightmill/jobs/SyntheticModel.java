package io.nightmill.jobs;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.Decoder;
import io.nightmill.models.ModelLoader;
import io.nightmill.tensor.Format;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.SyntheticWeights;
import java.util.function.IntPredicate;
import java.util.regex.Pattern;

/** A configuration of a real shape, to be run on random bfloat16 weights. */
record SyntheticModel(String name, ConfigNode config) {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Pattern OPTIONAL = Pattern.compile(".*A_log");

    /** @param weightBytes of all weights; a mixture reads fewer at a step */
    record Built(Decoder decoder, long parameters, long weightBytes) {}

    /** Qwen3's layout at half a billion parameters. */
    static SyntheticModel dense() {
        ObjectNode config = qwen3("qwen3", 28, 128, 3072);
        return of("dense-0.5B", config);
    }

    /** 64 experts, 8 of them active. */
    static SyntheticModel mixture() {
        ObjectNode config = qwen3("qwen3_moe", 10, 64, 512);
        config.put("num_experts", 64).put("num_experts_per_tok", 8).put("moe_intermediate_size", 512);
        return of("moe-1B", config.put("norm_topk_prob", true));
    }

    private static ObjectNode qwen3(String type, int layers, int headDim, int inner) {
        ObjectNode config = MAPPER.createObjectNode().put("model_type", type).put("num_hidden_layers", layers);
        config.put("hidden_size", 1024).put("num_attention_heads", 16).put("num_key_value_heads", 8);
        config.put("head_dim", headDim).put("intermediate_size", inner).put("vocab_size", 32000);
        config.put("rms_norm_eps", 1e-6).put("rope_theta", 1e6).put("max_position_embeddings", 131072);
        return config.put("tie_word_embeddings", true).put("hidden_act", "silu");
    }

    /**
     * Sixteen layers in Qwen3-Next's layout, dense: gated attention where {@code attends} says so, else Gated DeltaNet with as
     * many parameters.
     */
    static SyntheticModel layers(String name, IntPredicate attends) {
        ObjectNode config =
                MAPPER.createObjectNode().put("model_type", "qwen3_next").put("num_hidden_layers", 16);
        config.put("hidden_size", 768).put("num_attention_heads", 12).put("num_key_value_heads", 4);
        config.put("head_dim", 64).put("intermediate_size", 2048).put("vocab_size", 32000);
        config.put("linear_num_key_heads", 4).put("linear_num_value_heads", 12).put("linear_conv_kernel_dim", 4);
        config.put("linear_key_head_dim", 64).put("linear_value_head_dim", 64).put("partial_rotary_factor", 0.25);
        config.put("rms_norm_eps", 1e-6).put("rope_theta", 1e6).put("max_position_embeddings", 131072);
        config.put("tie_word_embeddings", true).put("hidden_act", "silu");
        ArrayNode types = config.putArray("layer_types");
        for (int i = 0; i < 16; i++) {
            types.add(attends.test(i) ? "full_attention" : "linear_attention");
        }
        return of(name, config);
    }

    private static SyntheticModel of(String name, ObjectNode config) {
        return new SyntheticModel(name, ConfigNode.of(config, name));
    }

    Built build(Backend backend) {
        SyntheticWeights weights = new SyntheticWeights(backend, Format.BF16, OPTIONAL);
        Decoder decoder = ModelLoader.build(config, weights);
        return new Built(decoder, weights.parameters(), weights.bytes());
    }

    /** Values of one layer's expert, in all layers together; 0 is a dense model. */
    private long expertValues() {
        int inner = config.intOr("moe_intermediate_size", 0);
        return 3L * config.requireInt("num_hidden_layers") * config.requireInt("hidden_size") * inner;
    }

    /** Values that one token meets. */
    long activeParameters(Built built) {
        int idle = config.intOr("num_experts", 0) - config.intOr("num_experts_per_tok", 0);
        return built.parameters - idle * expertValues();
    }

    /** Bytes of weights that a step of so many tokens is expected to read. */
    double bytesRead(Built built, int tokens) {
        int experts = config.intOr("num_experts", 0);
        if (experts == 0) {
            return built.weightBytes;
        }
        double missed = Math.pow(1 - (double) config.requireInt("num_experts_per_tok") / experts, tokens);
        return built.weightBytes - 2.0 * experts * expertValues() * missed;
    }
}
