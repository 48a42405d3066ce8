package io.nightmill.models;

import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Qwen 2 and 2.5 (arXiv 2407.10671): biases on queries, keys and values. */
final class Qwen2 implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("qwen2");
    }

    @Override
    public String layers(String modelType) {
        return "full or sliding attention, dense";
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
                            layer.in("self_attn"), model.hidden, rope, model.attention(window(model, i)))));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), model.mlp(layer.in("mlp"))));
        }
        return model.decoder();
    }

    /** Sliding windows, where they are used, begin at layer {@code max_window_layers}. */
    static int window(Blueprint model, int i) {
        boolean slides = slides(model, i, i >= model.config.intOr("max_window_layers", 28));
        return slides ? model.config.intOr("sliding_window", 0) : 0;
    }

    /** Whether windows are used, and in layer {@code i}. */
    static boolean slides(Blueprint model, int i, boolean otherwise) {
        return model.config.booleanOr("use_sliding_window", false) && model.slides(i, otherwise);
    }
}
