package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Recurrence;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.mixers.MatrixLstm;
import io.nightmill.mixers.Readout;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** xLSTM 7B (arXiv 2503.13427): mLSTM and a gated feed-forward in every block. */
final class XLstm implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("xlstm");
    }

    @Override
    public String layers(String modelType) {
        return "mLSTM, dense";
    }

    @Override
    public boolean isProven() {
        return false;
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights)
                .named("backbone", "embeddings", "out_norm")
                .scaled(1, 1, config.doubleOr("output_logit_soft_cap", 30));
        int multiple = config.intOr("ffn_round_up_to_multiple_of", 64);
        int least = (int) (model.hidden * config.doubleOr("ffn_proj_factor", 2.667));
        int inner = (least + multiple - 1) / multiple * multiple;
        for (int i = 0; i < model.layers; i++) {
            Weights block = weights.in("backbone.blocks." + i);
            model.add(Branch.of(model.norm(block, "norm_mlstm"), mixer(model, block.in("mlstm_layer"))));
            Weights ffn = block.in("ffn");
            model.add(Branch.of(
                    model.norm(block, "norm_ffn"),
                    new GatedMlp(
                            Linear.from(ffn, "proj_up_gate", inner, model.hidden),
                            Linear.from(ffn, "proj_up", inner, model.hidden),
                            Linear.from(ffn, "proj_down", model.hidden, inner),
                            Glu.of(Activation.SILU))));
        }
        return model.decoder();
    }

    private static MatrixLstm mixer(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int heads = config.requireInt("num_heads");
        int keys = (int) (model.hidden * config.doubleOr("qk_dim_factor", 0.5));
        int values = (int) (model.hidden * config.doubleOr("v_dim_factor", 1));
        double cap = config.doubleOr("gate_soft_cap", 15);
        if (cap <= 0 || cap > 30) {
            throw new IllegalArgumentException(
                    "Cannot build %s: gate_soft_cap is %s, expected more than 0 and at most 30".formatted(config, cap));
        }
        Tensor norm = weights.vector("multihead_norm.weight", values).reshape(values / heads);
        return new MatrixLstm(
                Linear.from(weights, "q", keys, model.hidden),
                Linear.from(weights, "k", keys, model.hidden),
                Linear.from(weights, "v", values, model.hidden),
                Linear.from(weights, "igate_preact", heads, model.hidden),
                Linear.from(weights, "fgate_preact", heads, model.hidden),
                (float) cap,
                Recurrence.of(
                        heads, keys / heads, values / heads + 1, Recurrence.Decay.HEAD, Recurrence.Rule.ADD, (float)
                                (1 / Math.sqrt((double) keys / heads))),
                Linear.from(weights, "ogate_preact", values, model.hidden),
                new Readout(
                        new Norm.LayerNorm(norm, null, model.eps),
                        false,
                        Activation.SIGMOID,
                        Linear.from(weights, "out_proj", model.hidden, values)));
    }
}
