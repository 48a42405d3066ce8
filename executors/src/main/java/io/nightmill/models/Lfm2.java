package io.nightmill.models;

import io.nightmill.kernels.Activation;
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
import io.nightmill.mixers.GatedConvolution;
import io.nightmill.mixers.ShortConv;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** LFM2 (arXiv 2511.23404), dense and mixture of experts: gated short convolutions with a few layers of attention. */
final class Lfm2 implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("lfm2", "lfm2_moe");
    }

    @Override
    public String layers(String modelType) {
        return "gated short convolutions and attention, dense or experts";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("model", "embed_tokens", "embedding_norm");
        Rope rope = model.rope();
        List<String> types = config.texts("layer_types");
        List<Integer> attending = config.ints("full_attn_idxs");
        boolean sparse = config.requireText("model_type").equals("lfm2_moe");
        int dense = sparse ? config.intOr("num_dense_layers", 0) : model.layers;
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            boolean attends = types.isEmpty()
                    ? !config.has("full_attn_idxs") || attending.contains(i)
                    : Blueprint.attends(types.get(i));
            SequenceMixer mixer =
                    attends ? attention(model, layer.in("self_attn"), rope) : convolution(model, layer.in("conv"));
            model.add(Branch.of(model.norm(layer, "operator_norm"), mixer));
            Weights scope = layer.in("feed_forward");
            FeedForward feedForward = i < dense ? mlp(model, scope, inner(config, sparse)) : experts(model, scope);
            model.add(Branch.of(model.norm(layer, "ffn_norm"), feedForward));
        }
        return model.decoder();
    }

    private static SequenceMixer convolution(Blueprint model, Weights weights) {
        int hidden = model.hidden;
        return new GatedConvolution(
                Linear.from(weights, "in_proj", 3 * hidden, hidden),
                ShortConv.from(weights, "conv", hidden, model.config.intOr("conv_L_cache", 3), null),
                Linear.from(weights, "out_proj", hidden, hidden));
    }

    private static SequenceMixer attention(Blueprint model, Weights weights, Rope rope) {
        int width = model.heads * model.headDim;
        int keys = model.kvHeads * model.headDim;
        Attention attention = model.attention(0);
        return new SoftmaxAttention(
                Linear.from(weights, "q_proj", width, model.hidden),
                Linear.from(weights, "k_proj", keys, model.hidden),
                Linear.from(weights, "v_proj", keys, model.hidden),
                Linear.from(weights, "out_proj", model.hidden, width),
                model.norm(weights, "q_layernorm", model.headDim),
                model.norm(weights, "k_layernorm", model.headDim),
                rope,
                attention,
                0,
                null);
    }

    /** The dense family's size is given before its reduction to two thirds. */
    private static int inner(ConfigNode config, boolean sparse) {
        int given = config.intOr("block_ff_dim", config.intOr("intermediate_size", 0));
        if (sparse || !config.booleanOr("block_auto_adjust_ff_dim", true)) {
            return given;
        }
        int reduced = 2 * given / 3;
        if (config.has("block_ffn_dim_multiplier")) {
            reduced = (int) (config.requireDouble("block_ffn_dim_multiplier") * reduced);
        }
        int multiple = config.intOr("block_multiple_of", 256);
        return (reduced + multiple - 1) / multiple * multiple;
    }

    private static FeedForward mlp(Blueprint model, Weights weights, int inner) {
        return new GatedMlp(
                Linear.from(weights, "w1", inner, model.hidden),
                Linear.from(weights, "w3", inner, model.hidden),
                Linear.from(weights, "w2", model.hidden, inner),
                Glu.of(Activation.SILU));
    }

    private static FeedForward experts(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int count = config.requireInt("num_experts");
        Router router = new Router(
                count,
                config.requireInt("num_experts_per_tok"),
                Router.Scoring.SIGMOID,
                config.booleanOr("norm_topk_prob", true),
                1,
                1,
                Router.GroupScore.MAX,
                0,
                (float) config.doubleOr("routed_scaling_factor", 1),
                false,
                0);
        Glu glu = Glu.of(Activation.SILU);
        boolean biased = config.booleanOr("use_expert_bias", true);
        return new MixtureOfExperts(
                Linear.from(weights, "gate", count, model.hidden),
                biased ? weights.vector("expert_bias", count) : null,
                router,
                Experts.from(
                        weights.in("experts"),
                        count,
                        model.hidden,
                        config.requireInt("moe_intermediate_size"),
                        glu,
                        "w1",
                        "w3",
                        "w2"),
                null,
                null);
    }
}
