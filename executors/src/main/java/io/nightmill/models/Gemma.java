package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Layer;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/**
 * Gemma 1 (arXiv 2403.08295), 2 (arXiv 2408.00118: norms on both sides, soft caps, every other layer slides) and 3 (arXiv
 * 2503.19786: norms on heads, a rope of their own for sliding layers). Norm weights are stored as distances from 1.
 */
final class Gemma implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("gemma", "gemma2", "gemma3_text");
    }

    @Override
    public String layers(String modelType) {
        return "full and sliding attention, sandwich norms, soft caps, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights, 1);
        String type = config.requireText("model_type");
        if (config.booleanOr("use_bidirectional_attention", false)) {
            throw new IllegalArgumentException(
                    "Cannot build %s: use_bidirectional_attention is true, expected a decoder".formatted(config));
        }
        boolean third = type.equals("gemma3_text");
        Rope global = model.rope(global(config, model.headDim));
        Rope local = third ? model.rope(local(config, model.headDim)) : global;
        double scalar = config.doubleOr("query_pre_attn_scalar", model.headDim);
        // Gemma 3 has the key too, and its reference does not look at it.
        double softcap = third ? 0 : config.doubleOr("attn_logit_softcapping", 0);
        // The reference reads hidden_act in Gemma 1, and hidden_activation since.
        String activation = type.equals("gemma") ? "hidden_act" : "hidden_activation";
        Glu glu = Glu.of(Activation.of(config.textOr(activation, "gelu_pytorch_tanh")));
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            boolean slides =
                    model.slides(i, third ? (i + 1) % pattern(config) != 0 : type.equals("gemma2") && i % 2 == 0);
            int window = slides ? config.requireInt("sliding_window") : 0;
            SoftmaxAttention attention = SoftmaxAttention.from(
                    layer.in("self_attn"),
                    model.hidden,
                    slides ? local : global,
                    model.attention(window, type.equals("gemma") ? model.headDim : scalar, softcap));
            if (third) {
                attention = attention.normed(
                        model.norm(layer, "self_attn.q_norm", model.headDim),
                        model.norm(layer, "self_attn.k_norm", model.headDim));
            }
            Layer mlp = GatedMlp.from(layer.in("mlp"), model.hidden, config.requireInt("intermediate_size"), glu);
            if (type.equals("gemma")) {
                model.add(Branch.of(model.norm(layer, "input_layernorm"), attention));
                model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), mlp));
            } else {
                model.add(sandwich(model, layer, "input_layernorm", attention, "post_attention_layernorm"));
                model.add(sandwich(model, layer, "pre_feedforward_layernorm", mlp, "post_feedforward_layernorm"));
            }
        }
        model.scaled(Math.sqrt(model.hidden), 1, config.doubleOr("final_logit_softcapping", 0));
        return model.decoder();
    }

    private static Branch sandwich(Blueprint model, Weights layer, String before, Layer middle, String after) {
        return Branch.of(model.norm(layer, before), middle, model.norm(layer, after), 1);
    }

    private static int pattern(ConfigNode config) {
        return config.intOr("sliding_window_pattern", config.intOr("_sliding_window_pattern", 6));
    }

    private static Rope global(ConfigNode config, int headDim) {
        ConfigNode own = config.at("rope_parameters").at("full_attention");
        return own.isPresent()
                ? Ropes.of(config, headDim, own.requireDouble("rope_theta"), own)
                : Ropes.of(config, headDim);
    }

    private static Rope local(ConfigNode config, int headDim) {
        ConfigNode own = config.at("rope_parameters").at("sliding_attention");
        double theta = own.doubleOr("rope_theta", config.doubleOr("rope_local_base_freq", 10000));
        return Ropes.of(config, headDim, theta, own);
    }
}
