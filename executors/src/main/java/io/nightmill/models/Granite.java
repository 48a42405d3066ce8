package io.nightmill.models;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Granite 3 and 4 (IBM 2024, 2025): attention, in 4 beside Mamba-2 and mostly without positions; a feed-forward, experts, or experts beside
 * a shared feed-forward; four multipliers.
 */
final class Granite implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("granite", "granitemoe", "granitemoeshared", "granitemoehybrid");
    }

    @Override
    public String layers(String modelType) {
        return switch (modelType) {
            case "granite" -> "full attention, dense";
            case "granitemoe" -> "full attention, experts";
            case "granitemoeshared" -> "full attention, experts with a shared feed-forward";
            default -> "Mamba-2 and attention, experts with a shared feed-forward";
        };
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights)
                .scaled(config.doubleOr("embedding_multiplier", 1), 1 / config.doubleOr("logits_scaling", 1), 0);
        boolean hybrid = config.requireText("model_type").equals("granitemoehybrid");
        String positions = config.textOr("position_embedding_type", hybrid ? "nope" : "rope");
        Rope rope = positions.equals("rope") ? model.rope() : null;
        List<String> types = config.texts("layer_types");
        float residual = (float) config.doubleOr("residual_multiplier", 1);
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            boolean attends = types.isEmpty() ? !hybrid : Blueprint.attends(types.get(i));
            SequenceMixer mixer = attends
                    ? SoftmaxAttention.from(layer.in("self_attn"), model.hidden, rope, attention(model))
                    : MambaBlocks.mamba2(layer.in("mamba"), MambaBlocks.Sizes.of(model, true, 1, null));
            model.add(Branch.of(model.norm(layer, "input_layernorm"), mixer, null, residual));
            FeedForward feedForward = feedForward(model, layer);
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), feedForward, null, residual));
        }
        return model.decoder();
    }

    private static Attention attention(Blueprint model) {
        float scale = (float) model.config.doubleOr("attention_multiplier", 1);
        return new Attention(model.heads, model.kvHeads, model.headDim, model.headDim, scale, 0, 0, null);
    }

    private static FeedForward feedForward(Blueprint model, Weights layer) {
        ConfigNode config = model.config;
        int inner = config.requireInt("intermediate_size");
        Glu glu = Glu.of(model.activation());
        String type = config.requireText("model_type");
        if (type.equals("granite")) {
            return GatedMlp.from(layer.in("mlp"), model.hidden, inner, glu);
        }
        int sharedInner = config.intOr("shared_intermediate_size", type.equals("granitemoehybrid") ? inner : 0);
        FeedForward shared = sharedInner == 0 ? null : mlp(layer.in("shared_mlp"), model.hidden, sharedInner, glu);
        int count = config.intOr("num_local_experts", type.equals("granitemoehybrid") ? 0 : 8);
        return count == 0 ? shared : experts(model, layer.in("block_sparse_moe"), count, glu, shared);
    }

    /** Gate and up in one, or apart as in GGUF. */
    private static FeedForward mlp(Weights weights, int hidden, int inner, Glu glu) {
        if (weights.has("gate_proj.weight")) {
            return GatedMlp.from(weights, hidden, inner, glu);
        }
        Linear both = Linear.from(weights, "input_linear", 2 * inner, hidden);
        Linear down = Linear.from(weights, "output_linear", hidden, inner);
        return GatedMlp.fused(both, down, glu);
    }

    private static FeedForward experts(Blueprint model, Weights moe, int count, Glu glu, @Nullable FeedForward shared) {
        int inner = model.config.requireInt("intermediate_size");
        int topK = model.config.requireInt("num_experts_per_tok");
        Experts experts = moe.has("gate_proj.weight")
                ? Experts.from(moe, count, model.hidden, inner, glu, "gate_proj", "up_proj", "down_proj")
                : new Experts(
                        List.of(moe.stack("input_linear.weight", count, 2 * inner, model.hidden)),
                        List.of(),
                        moe.stack("output_linear.weight", count, model.hidden, inner),
                        null,
                        glu);
        return new MixtureOfExperts(
                Linear.from(moe, "router.layer", count, model.hidden),
                null,
                Router.plain(count, topK, Router.Scoring.SOFTMAX_OF_CHOSEN, false),
                experts,
                shared,
                null);
    }
}
