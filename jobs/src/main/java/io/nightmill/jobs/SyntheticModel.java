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
record SyntheticModel(String name, ConfigNode config) implements BenchModel {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Pattern OPTIONAL = Pattern.compile(".*A_log");

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

    /** Granite 4.0's layout: Mamba-2 with attention in every fourth layer, experts and a shared one in each. */
    static SyntheticModel hybrid() {
        ObjectNode config = base("granitemoehybrid", 12, 512).put("shared_intermediate_size", 1024);
        config.put("num_local_experts", 64).put("num_experts_per_tok", 8);
        config.put("mamba_n_heads", 32)
                .put("mamba_d_head", 64)
                .put("mamba_d_state", 128)
                .put("mamba_n_groups", 1);
        config.put("mamba_d_conv", 4).put("mamba_expand", 2).put("mamba_conv_bias", true);
        config.put("embedding_multiplier", 1).put("attention_multiplier", 0.125).put("residual_multiplier", 1);
        config.put("logits_scaling", 1).put("position_embedding_type", "nope");
        ArrayNode types = config.putArray("layer_types");
        for (int i = 0; i < 12; i++) {
            types.add(i % 4 == 3 ? "attention" : "mamba");
        }
        return of("hybrid-moe-1B", config);
    }

    private static ObjectNode qwen3(String type, int layers, int headDim, int inner) {
        return base(type, layers, inner).put("head_dim", headDim).put("rope_theta", 1e6);
    }

    /** What the models of hidden size 1024 have in common. */
    private static ObjectNode base(String type, int layers, int inner) {
        ObjectNode config = MAPPER.createObjectNode().put("model_type", type).put("num_hidden_layers", layers);
        config.put("hidden_size", 1024).put("num_attention_heads", 16).put("num_key_value_heads", 8);
        config.put("intermediate_size", inner).put("vocab_size", 32000).put("rms_norm_eps", 1e-6);
        config.put("max_position_embeddings", 131072);
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

    @Override
    public Built build(Backend backend) {
        SyntheticWeights weights = new SyntheticWeights(backend, Format.BF16, OPTIONAL);
        Decoder decoder = ModelLoader.build(config, weights);
        return Built.of(decoder, weights.parameters());
    }
}
