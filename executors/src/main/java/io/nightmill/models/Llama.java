package io.nightmill.models;

import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Llama 2 and 3 (arXiv 2407.21783), and Mistral with its sliding window (arXiv 2310.06825). */
final class Llama implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("llama", "mistral");
    }

    @Override
    public String layers(String modelType) {
        return "full or sliding attention, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        Rope rope = model.rope();
        int window = config.intOr("sliding_window", 0);
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            model.add(Branch.of(
                    model.norm(layer, "input_layernorm"),
                    SoftmaxAttention.from(layer.in("self_attn"), model.hidden, rope, model.attention(window))));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), model.mlp(layer.in("mlp"))));
        }
        return model.decoder();
    }
}
