package io.nightmill.models;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Mixtral (arXiv 2401.04088). */
final class Mixtral implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("mixtral");
    }

    @Override
    public String layers(String modelType) {
        return "sliding attention, experts";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        Rope rope = model.rope();
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            model.add(Branch.of(
                    model.norm(layer, "input_layernorm"),
                    SoftmaxAttention.from(
                            layer.in("self_attn"),
                            model.hidden,
                            rope,
                            model.attention(config.intOr("sliding_window", 0)))));
            model.add(Branch.of(
                    model.norm(layer, "post_attention_layernorm"), experts(model, layer.in("block_sparse_moe"))));
        }
        return model.decoder();
    }

    static MixtureOfExperts experts(Blueprint model, Weights moe) {
        int count = model.config.requireInt("num_local_experts");
        int inner = model.config.requireInt("intermediate_size");
        int topK = model.config.requireInt("num_experts_per_tok");
        Glu glu = Glu.of(model.activation());
        return new MixtureOfExperts(
                Linear.from(moe, "gate", count, model.hidden),
                null,
                Router.plain(count, topK, Router.Scoring.SOFTMAX, true),
                Experts.from(moe.in("experts"), count, model.hidden, inner, glu, "w1", "w3", "w2"),
                null,
                null);
    }
}
