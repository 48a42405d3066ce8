package io.nightmill.models;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Phi-3 and Phi-4 mini (arXiv 2404.14219): fused projections, LongRoPE, partly rotated heads. */
final class Phi3 implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("phi3");
    }

    @Override
    public String layers(String modelType) {
        return "full or sliding attention, LongRoPE, partly rotated heads, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        Rope rope = model.rope();
        int queries = model.heads * model.headDim;
        int keys = model.kvHeads * model.headDim;
        int inner = config.requireInt("intermediate_size");
        Attention attention = model.attention(config.intOr("sliding_window", 0));
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Linear qkv = Linear.from(layer, "self_attn.qkv_proj", queries + 2 * keys, model.hidden);
            model.add(Branch.of(
                    model.norm(layer, "input_layernorm"),
                    new SoftmaxAttention(
                            qkv.rows(0, queries),
                            qkv.rows(queries, keys),
                            qkv.rows(queries + keys, keys),
                            Linear.from(layer, "self_attn.o_proj", model.hidden, queries),
                            null,
                            null,
                            rope,
                            attention,
                            0,
                            null)));
            Linear gateUp = Linear.from(layer, "mlp.gate_up_proj", 2 * inner, model.hidden);
            Linear down = Linear.from(layer, "mlp.down_proj", model.hidden, inner);
            model.add(Branch.of(
                    model.norm(layer, "post_attention_layernorm"),
                    GatedMlp.fused(gateUp, down, Glu.of(model.activation()))));
        }
        return model.decoder();
    }
}
