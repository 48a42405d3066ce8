package io.nightmill.models;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.tensor.Matrix;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** gpt-oss (arXiv 2508.10925): attention sinks, alternating windows, a clamped gate, experts in bfloat16 or MXFP4. */
final class GptOss implements ModelFamily {
    private static final float ALPHA = 1.702f;
    /** The reference's own, whatever {@code swiglu_limit} says; all published models say the same. */
    private static final float LIMIT = 7;

    @Override
    public Set<String> modelTypes() {
        return Set.of("gpt_oss");
    }

    @Override
    public String layers(String modelType) {
        return "full and sliding attention with sinks, experts (BF16 or MXFP4)";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        boolean names = config.at("rope_parameters").isPresent()
                || config.at("rope_scaling").isPresent();
        Rope rope = names ? model.rope() : model.rope(published(config, model.headDim));
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights scope = layer.in("self_attn");
            int window = model.slides(i, i % 2 == 0) ? config.requireInt("sliding_window") : 0;
            Attention attention = new Attention(
                    model.heads,
                    model.kvHeads,
                    model.headDim,
                    model.headDim,
                    (float) (1 / Math.sqrt(model.headDim)),
                    window,
                    0,
                    scope.vector("sinks", model.heads));
            model.add(Branch.of(
                    model.norm(layer, "input_layernorm"), SoftmaxAttention.from(scope, model.hidden, rope, attention)));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), experts(model, layer.in("mlp"))));
        }
        return model.decoder();
    }

    /** What the reference takes where a configuration says nothing: both published models' rope. */
    private static Rope published(ConfigNode config, int headDim) {
        ObjectNode yarn = JsonNodeFactory.instance
                .objectNode()
                .put("rope_type", "yarn")
                .put("factor", 32.0)
                .put("beta_fast", 32.0)
                .put("beta_slow", 1.0)
                .put("truncate", false)
                .put("original_max_position_embeddings", 4096);
        double theta = config.doubleOr("rope_theta", 150000);
        return Ropes.of(config, headDim, theta, ConfigNode.of(yarn, "gpt-oss's rope"));
    }

    private static FeedForward experts(Blueprint model, Weights mlp) {
        ConfigNode config = model.config;
        int count = config.requireInt("num_local_experts");
        int topK = config.intOr("num_experts_per_tok", config.intOr("experts_per_token", 4));
        return new MixtureOfExperts(
                Linear.from(mlp, "router", count, model.hidden),
                null,
                Router.plain(count, topK, Router.Scoring.SOFTMAX_OF_CHOSEN, false),
                experts(mlp.in("experts"), count, model.hidden, config.requireInt("intermediate_size")),
                null,
                null);
    }

    /** Gate and up interleaved in one tensor, or apart (GGUF). */
    private static Experts experts(Weights experts, int count, int hidden, int inner) {
        if (experts.has("gate_proj.weight")) {
            return new Experts(
                    List.of(
                            experts.stack("gate_proj.weight", count, inner, hidden),
                            experts.stack("up_proj.weight", count, inner, hidden)),
                    List.of(
                            experts.tensor("gate_proj.bias", 0, count, inner),
                            experts.tensor("up_proj.bias", 0, count, inner)),
                    experts.stack("down_proj.weight", count, hidden, inner),
                    experts.tensor("down_proj.bias", 0, count, hidden),
                    new Glu(Activation.SILU, false, LIMIT, ALPHA));
        }
        return new Experts(
                List.of(either(experts, "gate_up_proj", count, 2 * inner, hidden)),
                List.of(experts.tensor("gate_up_proj_bias", 0, count, 2 * inner)),
                either(experts, "down_proj", count, hidden, inner),
                experts.tensor("down_proj_bias", 0, count, hidden),
                new Glu(Activation.SILU, true, LIMIT, ALPHA));
    }

    /** MXFP4 is stored {@code [out, in]}, bfloat16 transposed. */
    private static List<Matrix> either(Weights experts, String name, int count, int out, int in) {
        return experts.has(name + "_blocks")
                ? experts.stack(name, count, out, in)
                : experts.stackTransposed(name, count, out, in);
    }
}
