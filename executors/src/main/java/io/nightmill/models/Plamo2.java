package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Recurrence;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.HeadwiseMamba;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.ShortConv;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** PLaMo 2 (arXiv 2509.04897): headwise Mamba and windowed attention in turn, norms before and after each. */
final class Plamo2 implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("plamo2");
    }

    @Override
    public String layers(String modelType) {
        return "headwise Mamba and full or sliding attention, dense";
    }

    @Override
    public boolean isProven() {
        return false;
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        int headDim = config.intOr("hidden_size_per_head", model.headDim);
        Rope rope = model.rope(Ropes.of(config, headDim));
        List<String> types = config.texts("layer_types");
        int inner = config.requireInt("intermediate_size");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = weights.in("model.layers.layers." + i);
            boolean attends = types.isEmpty() ? attends(config, i, model.layers) : Blueprint.attends(types.get(i));
            boolean slides = !config.ints("full_attention_idx").contains(i);
            int window = slides ? config.intOr("attention_window_size", 0) : 0;
            SequenceMixer mixer = attends
                    ? attention(model, layer.in("mixer"), headDim, rope, window)
                    : mamba(model, layer.in("mixer"), headDim);
            model.add(Branch.of(
                    norm(model, layer, "pre_mixer_norm", 1), mixer, norm(model, layer, "post_mixer_norm", 1 / 5.0), 1));
            Linear gateUp = Linear.from(layer, "mlp.gate_up_proj", 2 * inner, model.hidden);
            Linear down = Linear.from(layer, "mlp.down_proj", model.hidden, inner);
            model.add(Branch.of(
                    norm(model, layer, "pre_mlp_norm", 1),
                    GatedMlp.fused(gateUp, down, Glu.of(Activation.SILU)),
                    norm(model, layer, "post_mlp_norm", 1 / Math.pow(5, 1.5)),
                    1));
        }
        return model.decoder(norm(model, weights, "model.norm", 1));
    }

    private static boolean attends(ConfigNode config, int layer, int layers) {
        int step = config.intOr("mamba_step", 2);
        return !config.booleanOr("mamba_enabled", true)
                || (layers <= step / 2 ? layer == layers - 1 : layer % step == step / 2);
    }

    /** Stored as its distance from what it begins with, unless the file format has added that. */
    private static Norm norm(Blueprint model, Weights scope, String name, double beginning) {
        float offset = (float) model.config.doubleOr("norm_weight_offset", beginning);
        return Norm.rms(scope, name, model.hidden, model.eps, offset);
    }

    private static SoftmaxAttention attention(Blueprint model, Weights weights, int headDim, Rope rope, int window) {
        int queries = model.heads * headDim;
        int keys = model.kvHeads * headDim;
        Linear qkv = Linear.from(weights, "qkv_proj", queries + 2 * keys, model.hidden);
        return new SoftmaxAttention(
                qkv.rows(0, queries),
                qkv.rows(queries, keys),
                qkv.rows(queries + keys, keys),
                Linear.from(weights, "o_proj", model.hidden, queries),
                new Norm.Rms(weights.tensor("q_weight", 0, model.heads, headDim), model.eps),
                new Norm.Rms(weights.tensor("k_weight", 0, model.kvHeads, headDim), model.eps),
                rope,
                new Attention(
                        model.heads,
                        model.kvHeads,
                        headDim,
                        headDim,
                        (float) (1 / Math.sqrt(headDim)),
                        window,
                        0,
                        null),
                0,
                null);
    }

    private static HeadwiseMamba mamba(Blueprint model, Weights weights, int attentionHeadDim) {
        ConfigNode config = model.config;
        int heads = config.requireInt("mamba_num_heads");
        int inner = config.intOr("mamba_d_ssm", heads * attentionHeadDim);
        int headDim = inner / heads;
        int stateSize = config.intOr("mamba_d_state", 64);
        int rank = Math.max(64, model.hidden / 16);
        int[] gates = Blueprint.rows(heads, 2 * headDim, 0, headDim);
        int[] values = Blueprint.rows(heads, 2 * headDim, headDim, headDim);
        return new HeadwiseMamba(
                Linear.rowsOf(weights, "in_proj", 2 * inner, model.hidden, gates),
                Linear.rowsOf(weights, "in_proj", 2 * inner, model.hidden, values),
                ShortConv.from(weights, "conv1d", inner, config.intOr("mamba_d_conv", 4), Activation.SILU),
                Linear.from(weights, "bcdt_proj", 2 * stateSize + rank, inner),
                plain(weights, "B_norm_weight", stateSize, model.eps),
                plain(weights, "C_norm_weight", stateSize, model.eps),
                plain(weights, "dt_norm_weight", rank, model.eps),
                new Linear(weights.matrix("dt_proj.weight", heads, rank), weights.vector("dt_bias", heads)),
                weights.upload(1, heads, Blueprint.rates(weights, heads)),
                weights.tensor("D", 0, heads, 1),
                new Recurrence(heads, 1, 1, stateSize, headDim, Recurrence.Decay.HEAD, Recurrence.Rule.ADD, 1),
                new Readout(null, true, Activation.SILU, Linear.from(weights, "out_proj", model.hidden, inner)));
    }

    private static Norm plain(Weights weights, String name, int width, float eps) {
        return new Norm.Rms(weights.vector(name, width), eps);
    }
}
