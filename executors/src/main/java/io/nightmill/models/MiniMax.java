package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Recurrence;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Layer;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.Decay;
import io.nightmill.mixers.LinearAttention;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** MiniMax-Text-01 (arXiv 2501.08313): lightning attention seven times, softmax attention once, experts; summed after norms. */
final class MiniMax implements ModelFamily {
    /** Of the norm behind linear attention, whatever rms_norm_eps says. */
    private static final float LINEAR_EPS = 1e-6f;

    @Override
    public Set<String> modelTypes() {
        return Set.of("minimax");
    }

    @Override
    public String layers(String modelType) {
        return "lightning attention and softmax attention, experts";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        Rope rope = model.rope();
        List<String> types = config.texts("layer_types");
        List<Integer> codes = config.ints("attn_type_list");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights scope = layer.in("self_attn");
            boolean attends = types.isEmpty()
                    ? (codes.isEmpty() ? i % 2 == 0 : codes.get(i) == 1)
                    : Blueprint.attends(types.get(i));
            Layer mixer = attends
                    ? SoftmaxAttention.from(
                            scope, model.hidden, rope, model.attention(config.intOr("sliding_window", 0)))
                    : lightning(model, scope, i);
            add(model, layer, "input_layernorm", mixer, attends ? "full_attn" : "linear_attn");
            add(model, layer, "post_attention_layernorm", Mixtral.experts(model, layer.in("block_sparse_moe")), "mlp");
        }
        return model.decoder();
    }

    private static void add(Blueprint model, Weights layer, String norm, Layer block, String kind) {
        float alpha = (float) model.config.doubleOr(kind + "_alpha_factor", 1);
        float beta = (float) model.config.doubleOr(kind + "_beta_factor", 1);
        model.add(new Branch(model.norm(layer, norm), block, null, beta, alpha, true));
    }

    /** Queries, keys and values lie head by head. */
    private static LinearAttention lightning(Blueprint model, Weights weights, int layer) {
        int heads = model.heads;
        int headDim = model.headDim;
        int width = heads * headDim;
        boolean listed = weights.has("diagonal_decay");
        Recurrence.Decay decay = listed ? Recurrence.Decay.TABLE : Recurrence.Decay.HEAD;
        int chunk = listed ? model.config.requireInt("block_size") : 16;
        Recurrence recurrence =
                new Recurrence(heads, heads, heads, headDim, headDim, decay, Recurrence.Rule.ADD, 1, chunk);
        Input[] inputs = new Input[3];
        for (int part = 0; part < 3; part++) {
            int[] rows = Blueprint.rows(heads, 3 * headDim, part * headDim, headDim);
            Linear projection = Linear.rowsOf(weights, "qkv_proj", 3 * width, model.hidden, rows);
            inputs[part] = new Input(projection, null, model.activation(), null);
        }
        return new LinearAttention(
                inputs[0],
                inputs[1],
                inputs[2],
                null,
                new Decay.Constant(listed ? tables(weights, recurrence) : slopes(model, weights, layer)),
                null,
                1,
                recurrence,
                Linear.from(weights, "output_gate", width, model.hidden),
                new Readout(
                        Norm.rms(weights, "norm", width, LINEAR_EPS, 0),
                        false,
                        Activation.SIGMOID,
                        Linear.from(weights, "out_proj", model.hidden, width)));
    }

    /** Heads forget at a geometric series of rates, more slowly in later layers. */
    private static Tensor slopes(Blueprint model, Weights weights, int layer) {
        double depth = 1 - layer / (model.layers - 1 + 1e-5) + 1e-5;
        float[] decay = new float[model.heads];
        for (int h = 0; h < decay.length; h++) {
            decay[h] = (float) Math.exp(-Math.pow(2, -8.0 * (h + 1) / decay.length) * depth);
        }
        return weights.upload(1, decay.length, decay);
    }

    /** The same rates as the checkpoint lists them, rounded as its format is: the reference computes with these. */
    private static Tensor tables(Weights weights, Recurrence r) {
        int heads = r.heads();
        int n = r.chunk();
        float[] diagonal = weights.values("diagonal_decay", heads, n, n);
        float[] query = weights.values("query_decay", heads, n);
        float[] key = weights.values("key_decay", heads, n);
        float[] slope = weights.values("slope_rate", heads);
        float[] tables = new float[heads * r.tableWidth()];
        for (int h = 0; h < heads; h++) {
            int at = h * r.tableWidth();
            System.arraycopy(diagonal, h * n * n, tables, at, n * n);
            System.arraycopy(query, h * n, tables, at + n * n, n);
            System.arraycopy(key, h * n, tables, at + n * n + n, n);
            tables[at + n * n + 2 * n] = (float) Math.exp(-slope[h] * n);
        }
        return weights.upload(heads, r.tableWidth(), tables);
    }
}
