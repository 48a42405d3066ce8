package io.nightmill.models;

import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/**
 * OLMo 2 (arXiv 2501.00656: norms after the layers) and OLMoE (arXiv 2409.02060: norms before, experts). Both norm the
 * whole width of queries and keys.
 */
final class Olmo implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("olmo2", "olmoe");
    }

    @Override
    public String layers(String modelType) {
        return "full attention, norms after the layers, dense or experts";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        boolean sparse = config.requireText("model_type").equals("olmoe");
        Rope rope = model.rope();
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights scope = layer.in("self_attn");
            SoftmaxAttention attention = SoftmaxAttention.from(scope, model.hidden, rope, model.attention(0))
                    .normed(
                            model.norm(scope, "q_norm", model.heads * model.headDim),
                            model.norm(scope, "k_norm", model.kvHeads * model.headDim))
                    .clipped((float) config.doubleOr("clip_qkv", 0));
            if (sparse) {
                model.add(Branch.of(model.norm(layer, "input_layernorm"), attention));
                model.add(Branch.of(
                        model.norm(layer, "post_attention_layernorm"),
                        Qwen3.experts(model, layer.in("mlp"), config.requireInt("intermediate_size"))));
            } else {
                model.add(Branch.of(null, attention, model.norm(layer, "post_attention_layernorm"), 1));
                model.add(Branch.of(
                        null, model.mlp(layer.in("mlp")), model.norm(layer, "post_feedforward_layernorm"), 1));
            }
        }
        return model.decoder();
    }
}
