package io.nightmill.models;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.kernels.Backend.Router.GroupScore;
import io.nightmill.kernels.Backend.Router.Scoring;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.LatentAttention;
import io.nightmill.tensor.Matrix;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Matrices;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** DeepSeek V2 (arXiv 2405.04434) and V3 (arXiv 2412.19437): latent attention, routed and shared experts. */
final class Deepseek implements ModelFamily {
    /** Of the norms between the factors of projections, whatever rms_norm_eps says. */
    private static final float RANK_EPS = 1e-6f;

    @Override
    public Set<String> modelTypes() {
        return Set.of("deepseek_v2", "deepseek_v3");
    }

    @Override
    public String layers(String modelType) {
        return "latent attention (MLA), grouped experts with shared ones";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        int rotary = config.requireInt("qk_rope_head_dim");
        Rope rope = model.rope(Ropes.of(config, rotary).withInterleaved(config.booleanOr("rope_interleave", true)));
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            model.add(Branch.of(
                    model.norm(layer, "input_layernorm"), attention(model, layer.in("self_attn"), rope, rotary)));
            FeedForward feedForward = isSparse(config, i, layer.has("mlp.gate.weight"))
                    ? experts(model, layer.in("mlp"))
                    : model.mlp(layer.in("mlp"));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), feedForward));
        }
        // Layers past the last are for multi-token prediction, which batch decoding does not use.
        for (int i = 0; i < config.intOr("num_nextn_predict_layers", 0); i++) {
            weights.ignore("model.layers." + (model.layers + i) + ".*");
        }
        return model.decoder();
    }

    /** transformers does not look at moe_layer_freq, which the published code does: a router in the file knows better. */
    static boolean isSparse(ConfigNode config, int layer, boolean hasRouter) {
        return layer >= config.intOr("first_k_dense_replace", 0)
                && (hasRouter || layer % config.intOr("moe_layer_freq", 1) == 0);
    }

    /** @param rope null is no positions */
    static LatentAttention attention(Blueprint model, Weights weights, @Nullable Rope rope, int rotary) {
        ConfigNode config = model.config;
        int heads = model.heads;
        int rank = config.requireInt("kv_lora_rank");
        int nope = config.requireInt("qk_nope_head_dim");
        int valueDim = config.requireInt("v_head_dim");
        int queryRank = config.intOr("q_lora_rank", 0);
        boolean direct = queryRank == 0;

        Linear down = Linear.from(weights, "kv_a_proj_with_mqa", rank + rotary, model.hidden);
        List<Matrix> absorbKey = new ArrayList<>();
        List<Matrix> absorbValue = new ArrayList<>();
        if (weights.has("kv_b_proj.weight")) {
            Matrix up = weights.matrix("kv_b_proj.weight", heads * (nope + valueDim), rank);
            for (int h = 0; h < heads; h++) {
                absorbKey.add(Matrices.transpose(up.rows(h * (nope + valueDim), nope)));
                absorbValue.add(up.rows(h * (nope + valueDim) + nope, valueDim));
            }
        } else {
            absorbKey.addAll(weights.stack("k_b_proj.weight", heads, rank, nope));
            absorbValue.addAll(weights.stack("v_b_proj.weight", heads, valueDim, rank));
        }
        return new LatentAttention(
                direct ? null : Linear.from(weights, "q_a_proj", queryRank, model.hidden),
                direct ? null : Norm.rms(weights, "q_a_layernorm", queryRank, RANK_EPS, 0),
                Linear.from(
                        weights,
                        direct ? "q_proj" : "q_b_proj",
                        heads * (nope + rotary),
                        direct ? model.hidden : queryRank),
                down.rows(0, rank),
                Norm.rms(weights, "kv_a_layernorm", rank, RANK_EPS, 0),
                down.rows(rank, rotary),
                absorbKey,
                absorbValue,
                Linear.from(weights, "o_proj", model.hidden, heads * valueDim),
                new Attention(heads, 1, rank + rotary, rank, scale(config, nope + rotary), 0, 0, null),
                rope);
    }

    /** The root of the head's width, times YaRN's temperature squared where the configuration has it. */
    private static float scale(ConfigNode config, int width) {
        ConfigNode parameters = config.at("rope_parameters");
        ConfigNode scaling = parameters.isPresent() ? parameters : config.at("rope_scaling");
        double all = scaling.doubleOr("mscale_all_dim", 0);
        double mscale = all == 0 ? 1 : Ropes.mscale(scaling.doubleOr("factor", 1), all);
        return (float) (mscale * mscale / Math.sqrt(width));
    }

    private static FeedForward experts(Blueprint model, Weights mlp) {
        ConfigNode config = model.config;
        int count = config.requireInt("n_routed_experts");
        int inner = config.requireInt("moe_intermediate_size");
        int shared = config.intOr("n_shared_experts", 0);
        boolean third = config.requireText("model_type").equals("deepseek_v3");
        boolean grouped = third || config.textOr("topk_method", "greedy").equals("group_limited_greedy");
        int groups = grouped ? config.intOr("n_group", 1) : 1;
        int topGroups = grouped ? config.intOr("topk_group", 1) : 1;
        int topK = config.requireInt("num_experts_per_tok");
        Router router = new Router(
                count,
                // Beyond the chosen groups' experts, V2 chooses some with a weight of 0.
                third ? topK : Math.min(topK, count / groups * topGroups),
                third ? Scoring.SIGMOID : Scoring.SOFTMAX,
                third && config.booleanOr("norm_topk_prob", true),
                groups,
                topGroups,
                third ? GroupScore.SUM_OF_TOP_2 : GroupScore.MAX,
                third ? Float.NEGATIVE_INFINITY : 0,
                (float) config.doubleOr("routed_scaling_factor", 1),
                false,
                0);
        Glu glu = Glu.of(model.activation());
        return new MixtureOfExperts(
                Linear.from(mlp, "gate", count, model.hidden),
                third ? mlp.vector("gate.e_score_correction_bias", count) : null,
                router,
                Experts.from(mlp.in("experts"), count, model.hidden, inner, glu, "gate_proj", "up_proj", "down_proj"),
                shared == 0 ? null : GatedMlp.from(mlp.in("shared_experts"), model.hidden, inner * shared, glu),
                null);
    }
}
