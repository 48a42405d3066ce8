package io.nightmill.models;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Qwen 1.5 and 2 mixtures of experts: a shared expert behind a gate of its own. */
final class Qwen2Moe implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("qwen2_moe");
    }

    @Override
    public String layers(String modelType) {
        return "full attention, experts with a gated shared one";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        Rope rope = model.rope();
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            // Unlike in Qwen2, windows are in every other layer below max_window_layers.
            boolean slides = Qwen2.slides(model, i, i % 2 == 0 && i < config.intOr("max_window_layers", 28));
            int window = slides ? config.intOr("sliding_window", 4096) : 0;
            model.add(Branch.of(
                    model.norm(layer, "input_layernorm"),
                    SoftmaxAttention.from(layer.in("self_attn"), model.hidden, rope, model.attention(window))));
            FeedForward feedForward =
                    Qwen3.isSparse(config, i) ? experts(model, layer.in("mlp")) : model.mlp(layer.in("mlp"));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), feedForward));
        }
        return model.decoder();
    }

    /** Routed experts, and a shared one behind a gate. */
    static FeedForward experts(Blueprint model, Weights mlp) {
        MixtureOfExperts routed = Qwen3.experts(model, mlp, model.config.requireInt("moe_intermediate_size"));
        int inner = model.config.requireInt("shared_expert_intermediate_size");
        return new MixtureOfExperts(
                routed.gate(),
                null,
                routed.router(),
                routed.experts(),
                GatedMlp.from(mlp.in("shared_expert"), model.hidden, inner, Glu.of(model.activation())),
                Linear.from(mlp, "shared_expert_gate", 1, model.hidden));
    }
}
