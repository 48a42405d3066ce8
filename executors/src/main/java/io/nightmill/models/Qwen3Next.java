package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Recurrence;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.Decay;
import io.nightmill.mixers.LinearAttention;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.ShortConv;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Qwen3-Next (Qwen 2025): Gated DeltaNet three times, gated attention once, and experts in every layer. */
final class Qwen3Next implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("qwen3_next");
    }

    @Override
    public String layers(String modelType) {
        return "Gated DeltaNet and gated attention, experts with a shared one";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights, 1);
        Rope rope = model.rope(0.25);
        List<String> types = config.texts("layer_types");
        int interval = config.intOr("full_attention_interval", 4);
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            boolean attends = types.isEmpty() ? (i + 1) % interval == 0 : Blueprint.attends(types.get(i));
            SequenceMixer mixer =
                    attends ? attention(model, layer.in("self_attn"), rope) : delta(model, layer.in("linear_attn"));
            model.add(Branch.of(model.norm(layer, "input_layernorm"), mixer));
            FeedForward feedForward = config.intOr("num_experts", 0) > 0 && Qwen3.isSparse(config, i)
                    ? Qwen2Moe.experts(model, layer.in("mlp"))
                    : model.mlp(layer.in("mlp"));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), feedForward));
        }
        weights.ignore("mtp.*");
        return model.decoder();
    }

    /** Each head's query lies before its gate. */
    private static SoftmaxAttention attention(Blueprint model, Weights weights, Rope rope) {
        int width = model.heads * model.headDim;
        int keys = model.kvHeads * model.headDim;
        int[] queries = Blueprint.rows(model.heads, 2 * model.headDim, 0, model.headDim);
        int[] gates = Blueprint.rows(model.heads, 2 * model.headDim, model.headDim, model.headDim);
        return new SoftmaxAttention(
                Linear.rowsOf(weights, "q_proj", 2 * width, model.hidden, queries),
                Linear.from(weights, "k_proj", keys, model.hidden),
                Linear.from(weights, "v_proj", keys, model.hidden),
                Linear.from(weights, "o_proj", model.hidden, width),
                model.norm(weights, "q_norm", model.headDim),
                model.norm(weights, "k_norm", model.headDim),
                rope,
                model.attention(0),
                0,
                Linear.rowsOf(weights, "q_proj", 2 * width, model.hidden, gates));
    }

    /** The two small projections are interleaved by key head. */
    private static LinearAttention delta(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int keyHeads = config.requireInt("linear_num_key_heads");
        int heads = config.requireInt("linear_num_value_heads");
        int keyDim = config.requireInt("linear_key_head_dim");
        int valueDim = config.requireInt("linear_value_head_dim");
        int share = heads / keyHeads;
        int keys = keyHeads * keyDim;
        int values = heads * valueDim;
        List<Linear> parts = parts(model, weights, keyHeads, keyDim, share * valueDim);
        ShortConv conv = ShortConv.from(
                weights, "conv1d", 2 * keys + values, config.intOr("linear_conv_kernel_dim", 4), model.activation());
        Norm unit = Blueprint.unit(weights, keyDim, 1e-6);
        return new LinearAttention(
                new Input(parts.get(0), conv.columns(0, keys), null, unit),
                new Input(parts.get(1), conv.columns(keys, keys), null, unit),
                new Input(parts.get(2), conv.columns(2 * keys, values), null, null),
                null,
                new Decay.Softplus(
                        small(model, weights, heads, Blueprint.rows(keyHeads, 2 * share, share, share)),
                        weights.vector("dt_bias", heads),
                        weights.upload(1, heads, Blueprint.rates(weights, heads))),
                small(model, weights, heads, Blueprint.rows(keyHeads, 2 * share, 0, share)),
                1,
                new Recurrence(
                        heads,
                        keyHeads,
                        keyHeads,
                        keyDim,
                        valueDim,
                        Recurrence.Decay.HEAD,
                        Recurrence.Rule.DELTA,
                        (float) (1 / Math.sqrt(keyDim))),
                parts.get(3),
                new Readout(
                        Norm.rms(weights, "norm", valueDim, model.eps, 0),
                        false,
                        Activation.SILU,
                        Linear.from(weights, "out_proj", model.hidden, values)));
    }

    /** Projections to queries, keys, values and gates: interleaved by key head, or sorted as in GGUF. */
    private static List<Linear> parts(Blueprint model, Weights weights, int keyHeads, int keyWidth, int valueWidth) {
        int keys = keyHeads * keyWidth;
        int values = keyHeads * valueWidth;
        if (weights.has("in_proj_qkv.weight")) {
            Linear sorted = Linear.from(weights, "in_proj_qkv", 2 * keys + values, model.hidden);
            return List.of(
                    sorted.rows(0, keys),
                    sorted.rows(keys, keys),
                    sorted.rows(2 * keys, values),
                    Linear.from(weights, "in_proj_z", values, model.hidden));
        }
        int group = 2 * keyWidth + 2 * valueWidth;
        int[] firsts = {0, keyWidth, 2 * keyWidth, 2 * keyWidth + valueWidth};
        List<Linear> parts = new ArrayList<>();
        for (int i = 0; i < firsts.length; i++) {
            int[] rows = Blueprint.rows(keyHeads, group, firsts[i], i < 2 ? keyWidth : valueWidth);
            parts.add(Linear.rowsOf(weights, "in_proj_qkvz", keyHeads * group, model.hidden, rows));
        }
        return parts;
    }

    private static Linear small(Blueprint model, Weights weights, int heads, int[] rows) {
        return Linear.rowsOf(weights, "in_proj_ba", 2 * heads, model.hidden, rows);
    }
}
