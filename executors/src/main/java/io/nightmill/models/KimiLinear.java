package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.kernels.Recurrence;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection.LowRank;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.Decay;
import io.nightmill.mixers.LinearAttention;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.ShortConv;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Kimi Linear (arXiv 2510.26692): delta attention with a decay per channel, latent attention without positions, experts. */
final class KimiLinear implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("kimi_linear");
    }

    @Override
    public String layers(String modelType) {
        return "Kimi Delta Attention and latent attention, grouped experts";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        ConfigNode linear = config.at("linear_attn_config");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights scope = layer.in("self_attn");
            // The configuration counts layers from 1.
            SequenceMixer mixer = linear.ints("kda_layers").contains(i + 1)
                    ? delta(model, scope, linear)
                    : Deepseek.attention(model, scope, null, config.requireInt("qk_rope_head_dim"));
            model.add(Branch.of(model.norm(layer, "input_layernorm"), mixer));
            boolean sparse = config.intOr("num_experts", 0) > 0
                    && Deepseek.isSparse(config, i, layer.has("block_sparse_moe.gate.weight"));
            FeedForward feedForward =
                    sparse ? experts(model, layer.in("block_sparse_moe")) : model.mlp(layer.in("mlp"));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), feedForward));
        }
        return model.decoder();
    }

    private static LinearAttention delta(Blueprint model, Weights weights, ConfigNode linear) {
        int heads = linear.requireInt("num_heads");
        int headDim = linear.requireInt("head_dim");
        int width = heads * headDim;
        int kernel = linear.intOr("short_conv_kernel_size", 4);
        Norm unit = Blueprint.unit(weights, headDim, 1e-6);
        return new LinearAttention(
                input(model, weights, "q", width, kernel, unit),
                input(model, weights, "k", width, kernel, unit),
                input(model, weights, "v", width, kernel, null),
                null,
                new Decay.Softplus(
                        lowRank(model, weights, "f", headDim, width),
                        weights.vector("dt_bias", width),
                        weights.upload(1, width, Blueprint.repeated(Blueprint.rates(weights, heads), headDim))),
                Linear.from(weights, "b_proj", heads, model.hidden),
                1,
                Recurrence.of(heads, headDim, headDim, Recurrence.Decay.KEY, Recurrence.Rule.DELTA, (float)
                        (1 / Math.sqrt(headDim))),
                lowRank(model, weights, "g", headDim, width),
                new Readout(
                        Norm.rms(weights, "o_norm", headDim, model.eps, 0),
                        false,
                        Activation.SIGMOID,
                        Linear.from(weights, "o_proj", model.hidden, width)));
    }

    private static Input input(
            Blueprint model, Weights weights, String name, int width, int kernel, @Nullable Norm unit) {
        return new Input(
                Linear.from(weights, name + "_proj", width, model.hidden),
                ShortConv.from(weights, name + "_conv1d", width, kernel, model.activation()),
                null,
                unit);
    }

    private static LowRank lowRank(Blueprint model, Weights weights, String name, int rank, int width) {
        return new LowRank(
                Linear.from(weights, name + "_a_proj", rank, model.hidden),
                null,
                Linear.from(weights, name + "_b_proj", width, rank));
    }

    private static FeedForward experts(Blueprint model, Weights moe) {
        ConfigNode config = model.config;
        int count = config.requireInt("num_experts");
        int inner = config.requireInt("moe_intermediate_size");
        int shared = config.intOr("num_shared_experts", 0);
        String named = config.textOr("moe_router_activation_func", "sigmoid");
        Router.Scoring scoring =
                switch (named) {
                    case "sigmoid" -> Router.Scoring.SIGMOID;
                    case "softmax" -> Router.Scoring.SOFTMAX;
                    default -> throw new IllegalArgumentException(
                            "Cannot build %s: moe_router_activation_func is '%s', expected sigmoid or softmax"
                                    .formatted(config, named));
                };
        Router router = new Router(
                count,
                config.requireInt("num_experts_per_token"),
                scoring,
                config.booleanOr("moe_renormalize", true),
                config.intOr("num_expert_group", 1),
                config.intOr("topk_group", 1),
                Router.GroupScore.SUM_OF_TOP_2,
                0,
                (float) config.doubleOr("routed_scaling_factor", 1),
                // The published code adds the bias in place, so that the weights have it too.
                true,
                0);
        Glu glu = Glu.of(model.activation());
        return new MixtureOfExperts(
                Linear.from(moe, "gate", count, model.hidden),
                moe.vector("gate.e_score_correction_bias", count),
                router,
                Experts.from(moe.in("experts"), count, model.hidden, inner, glu, "w1", "w3", "w2"),
                shared == 0 ? null : GatedMlp.from(moe.in("shared_experts"), model.hidden, inner * shared, glu),
                null);
    }
}
