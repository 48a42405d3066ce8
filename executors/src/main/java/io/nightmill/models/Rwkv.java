package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Recurrence.Rule;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Projection.LowRank;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.Rwkv6TimeMix;
import io.nightmill.mixers.Rwkv6TimeMix.Mixed;
import io.nightmill.mixers.Rwkv7TimeMix;
import io.nightmill.mixers.RwkvChannelMix;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** RWKV-6 (arXiv 2404.05892) and RWKV-7 (arXiv 2503.14456) under flash-linear-attention's tensor names. */
final class Rwkv implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("rwkv6", "rwkv7");
    }

    @Override
    public String layers(String modelType) {
        return "RWKV time and channel mixing (flash-linear-attention names)";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("model", "embeddings", "norm");
        boolean seventh = config.requireText("model_type").equals("rwkv7");
        if (config.booleanOr("norm_first", true)) {
            model.embeddingNormed(norm(model.layer(0), "pre_norm", model.hidden, model.eps));
        }
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            SequenceMixer mixer;
            if (seventh) {
                mixer = seventh(model, layer.in("attn"), i);
            } else {
                boolean attends = Fla.attends(config, i);
                mixer = attends ? Fla.attention(model, layer.in("attn")) : sixth(model, layer.in("attn"));
            }
            model.add(Branch.of(norm(layer, "attn_norm", model.hidden, model.eps), mixer));
            SequenceMixer channels = seventh ? channels7(model, layer.in("ffn")) : channels6(model, layer.in("ffn"));
            model.add(Branch.of(norm(layer, "ffn_norm", model.hidden, model.eps), channels));
        }
        return model.decoder(norm(weights, "model.norm", model.hidden, model.eps));
    }

    static Norm norm(Weights scope, String name, int width, float eps) {
        return new Norm.LayerNorm(scope.vector(name + ".weight", width), Linear.bias(scope, name, width), eps);
    }

    /** A norm of each head. */
    static Norm headNorm(Weights scope, String name, int heads, int width, float eps) {
        Tensor bias = Linear.bias(scope, name, width);
        Tensor weight = scope.vector(name + ".weight", width).reshape(width / heads);
        return new Norm.LayerNorm(weight, bias == null ? null : bias.reshape(width / heads), eps);
    }

    private static int inner(Blueprint model, double ratio) {
        int given = (int) (model.hidden * model.config.doubleOr("hidden_ratio", ratio));
        return model.config.intOr("intermediate_size", (given + 31) / 32 * 32);
    }

    private static Rwkv6TimeMix sixth(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int hidden = model.hidden;
        int heads = config.requireInt("num_heads");
        int keys = (int) (hidden * config.doubleOr("expand_k", 0.5));
        int values = (int) (hidden * config.doubleOr("expand_v", 1));
        int rank = config.intOr("proj_low_rank_dim", 32);
        return new Rwkv6TimeMix(
                weights.vector("x_proj.0.mu", hidden),
                Linear.from(weights, "x_proj.0.linear", 5 * rank, hidden),
                mixed(weights, 0, hidden, rank, Linear.from(weights, "r_proj.linear", keys, hidden)),
                mixed(
                        weights,
                        1,
                        hidden,
                        rank,
                        lora(
                                weights,
                                "w_proj.linear",
                                hidden,
                                config.intOr("gate_low_rank_dim", 64),
                                keys,
                                Activation.TANH)),
                mixed(weights, 2, hidden, rank, Linear.from(weights, "k_proj.linear", keys, hidden)),
                mixed(weights, 3, hidden, rank, Linear.from(weights, "v_proj.linear", values, hidden)),
                mixed(weights, 4, hidden, rank, Linear.from(weights, "g_proj.linear", values, hidden)),
                weights.tensor("bonus", 0, heads, keys / heads).reshape(keys),
                Recurrence.of(heads, keys / heads, values / heads, Recurrence.Decay.KEY, Rule.ADD, 1),
                new Readout(
                        headNorm(weights, "g_norm", heads, values, model.eps),
                        false,
                        Activation.SILU,
                        Linear.from(weights, "o_proj", hidden, values)));
    }

    /** The five amounts' weights lie side by side in each row. */
    private static Mixed mixed(Weights weights, int part, int hidden, int rank, Projection projection) {
        float[] all = weights.values("x_proj.2.weight", hidden, 5 * rank);
        float[] mine = new float[hidden * rank];
        for (int d = 0; d < hidden; d++) {
            System.arraycopy(all, (d * 5 + part) * rank, mine, d * rank, rank);
        }
        Tensor bias = weights.tensor("x_bias", 0, 5, hidden).rows(part, 1);
        return new Mixed(part, new Linear(Matrix.of(hidden, rank, mine), bias), projection);
    }

    private static LowRank lora(Weights weights, String name, int in, int rank, int out, @Nullable Activation between) {
        return new LowRank(
                Linear.from(weights, name + ".lora.0", rank, in),
                between,
                Linear.from(weights, name + ".lora.2", out, rank));
    }

    private static Rwkv7TimeMix seventh(Blueprint model, Weights weights, int layer) {
        ConfigNode config = model.config;
        int hidden = model.hidden;
        int headDim = config.intOr("head_dim", 64);
        int heads = hidden / headDim;
        return new Rwkv7TimeMix(
                new Rwkv7TimeMix.Mixes(
                        weights.vector("x_r", hidden),
                        weights.vector("x_w", hidden),
                        weights.vector("x_k", hidden),
                        weights.vector("x_v", hidden),
                        weights.vector("x_a", hidden),
                        weights.vector("x_g", hidden)),
                Linear.from(weights, "r_proj", hidden, hidden),
                Linear.from(weights, "k_proj", hidden, hidden),
                Linear.from(weights, "v_proj", hidden, hidden),
                lora(weights, "w_lora", hidden, config.requireInt("decay_low_rank_dim"), hidden, Activation.TANH),
                lora(weights, "a_lora", hidden, config.requireInt("a_low_rank_dim"), hidden, null),
                layer == 0 ? null : lora(weights, "v_lora", hidden, config.requireInt("v_low_rank_dim"), hidden, null),
                lora(weights, "g_lora", hidden, config.requireInt("gate_low_rank_dim"), hidden, Activation.SIGMOID),
                weights.vector("k_k", hidden),
                weights.vector("k_a", hidden),
                Blueprint.unit(weights, headDim, 1e-24),
                weights.tensor("r_k", 0, heads, headDim).reshape(hidden),
                headNorm(weights, "g_norm", heads, hidden, headDim * model.eps),
                Recurrence.of(heads, headDim, headDim, Recurrence.Decay.KEY, Rule.LOW_RANK, 1),
                Linear.from(weights, "o_proj", hidden, hidden));
    }

    private static Activation activation(Blueprint model) {
        return Activation.of(model.config.textOr("hidden_act", "sqrelu"));
    }

    private static RwkvChannelMix channels6(Blueprint model, Weights weights) {
        int inner = inner(model, 3.5);
        return new RwkvChannelMix(
                weights.vector("key.mu", model.hidden),
                Linear.from(weights, "key.linear", inner, model.hidden),
                activation(model),
                Linear.from(weights, "value", model.hidden, inner),
                weights.vector("receptance.mu", model.hidden),
                Linear.from(weights, "receptance.linear", model.hidden, model.hidden));
    }

    private static RwkvChannelMix channels7(Blueprint model, Weights weights) {
        int inner = inner(model, 4);
        return new RwkvChannelMix(
                weights.vector("x_k", model.hidden),
                Linear.from(weights, "key", inner, model.hidden),
                activation(model),
                Linear.from(weights, "value", model.hidden, inner),
                null,
                null);
    }
}
