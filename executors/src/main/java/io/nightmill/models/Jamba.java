package io.nightmill.models;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** Jamba (arXiv 2403.19887): Mamba with now and then a layer of attention without positions, and experts in every other layer. */
final class Jamba implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("jamba");
    }

    @Override
    public String layers(String modelType) {
        return "Mamba and attention without positions, experts in every other layer";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("model", "embed_tokens", "final_layernorm");
        int count = config.intOr("num_experts", 1);
        List<String> types = config.texts("layer_types");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            boolean attends = types.isEmpty() ? isOne(config, i, "attn_layer", 8, 4) : Blueprint.attends(types.get(i));
            SequenceMixer mixer = attends
                    ? SoftmaxAttention.from(
                            layer.in("self_attn"),
                            model.hidden,
                            null,
                            model.attention(config.intOr("sliding_window", 0)))
                    : mamba(model, layer.in("mamba"));
            model.add(Branch.of(model.norm(layer, "input_layernorm"), mixer));
            Weights scope = layer.in("feed_forward");
            boolean sparse = count > 1
                    && (config.has("mlp_only_layers")
                            ? !config.ints("mlp_only_layers").contains(i)
                            : isOne(config, i, "expert_layer", 2, 1));
            FeedForward feedForward = sparse ? experts(model, scope, count) : model.mlp(scope);
            model.add(Branch.of(model.norm(layer, "pre_ff_layernorm"), feedForward));
        }
        return model.decoder();
    }

    private static boolean isOne(ConfigNode config, int i, String kind, int period, int offset) {
        return i % config.intOr(kind + "_period", period) == config.intOr(kind + "_offset", offset);
    }

    private static SequenceMixer mamba(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int stateSize = config.intOr("mamba_d_state", 16);
        int rank = MambaBlocks.rank(config, "mamba_dt_rank", model.hidden);
        return MambaBlocks.mamba(
                weights,
                model,
                config.intOr("mamba_d_ssm", config.intOr("mamba_expand", 2) * model.hidden),
                stateSize,
                rank,
                config.intOr("mamba_d_conv", 4),
                List.of(
                        model.norm(weights, "dt_layernorm", rank),
                        model.norm(weights, "b_layernorm", stateSize),
                        model.norm(weights, "c_layernorm", stateSize)));
    }

    private static FeedForward experts(Blueprint model, Weights scope, int count) {
        ConfigNode config = model.config;
        int inner = config.requireInt("intermediate_size");
        Glu glu = Glu.of(model.activation());
        return new MixtureOfExperts(
                Linear.from(scope, "router", count, model.hidden),
                null,
                Router.plain(count, config.intOr("num_experts_per_tok", 2), Router.Scoring.SOFTMAX, false),
                Experts.from(scope.in("experts"), count, model.hidden, inner, glu, "gate_proj", "up_proj", "down_proj"),
                null,
                null);
    }
}
