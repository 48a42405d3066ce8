package io.nightmill.models;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.Parallel;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/** Falcon-H1 (arXiv 2507.22448): attention and Mamba-2 side by side in every layer, and a multiplier everywhere. */
final class FalconH1 implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("falcon_h1");
    }

    @Override
    public String layers(String modelType) {
        return "Mamba-2 and attention side by side in each layer, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights)
                .named("model", "embed_tokens", "final_layernorm")
                .scaled(config.doubleOr("embedding_multiplier", 1), config.doubleOr("lm_head_multiplier", 1), 0);
        Rope rope = model.rope();
        double keys = config.doubleOr("key_multiplier", 1);
        Attention attention = model.attention(0, model.headDim / (keys * keys), 0);
        List<Double> onMlp = multipliers(config, "mlp_multipliers", 2);
        MambaBlocks.Sizes sizes = sizes(model);
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Parallel mixer = new Parallel(List.of(
                    new Parallel.Part(
                            MambaBlocks.mamba2(layer.in("mamba"), sizes),
                            factor(config, "ssm_in_multiplier"),
                            factor(config, "ssm_out_multiplier")),
                    new Parallel.Part(
                            SoftmaxAttention.from(layer.in("self_attn"), model.hidden, rope, attention),
                            factor(config, "attention_in_multiplier"),
                            factor(config, "attention_out_multiplier"))));
            model.add(Branch.of(model.norm(layer, "input_layernorm"), mixer));
            model.add(Branch.of(
                    model.norm(layer, "pre_ff_layernorm"),
                    mlp(model, layer.in("feed_forward"), onMlp.get(0)),
                    null,
                    onMlp.get(1).floatValue()));
        }
        return model.decoder();
    }

    private static float factor(ConfigNode config, String key) {
        return (float) config.doubleOr(key, 1);
    }

    private static List<Double> multipliers(ConfigNode config, String key, int count) {
        List<Double> found = config.doubles(key);
        return found.size() == count ? found : List.of(1.0, 1.0, 1.0, 1.0, 1.0);
    }

    private static GatedMlp mlp(Blueprint model, Weights weights, double onGate) {
        int inner = model.config.requireInt("intermediate_size");
        return new GatedMlp(
                new Projection.Scaled(Linear.from(weights, "gate_proj", inner, model.hidden), (float) onGate),
                Linear.from(weights, "up_proj", inner, model.hidden),
                Linear.from(weights, "down_proj", model.hidden, inner),
                Glu.of(model.activation()));
    }

    private static MambaBlocks.Sizes sizes(Blueprint model) {
        ConfigNode config = model.config;
        boolean norms = config.booleanOr("mamba_rms_norm", false);
        int groups = config.intOr("mamba_n_groups", 1);
        boolean gatesFirst = !config.booleanOr("mamba_norm_before_gate", true);
        MambaBlocks.Sizes plain = MambaBlocks.Sizes.of(model, gatesFirst, norms ? groups : 0, null);
        List<Double> each = multipliers(config, "ssm_multipliers", 5);
        int[] widths = {
            plain.inner(), plain.inner(), groups * plain.stateSize(), groups * plain.stateSize(), plain.heads()
        };
        float[] scale = new float[Arrays.stream(widths).sum()];
        int at = 0;
        for (int part = 0; part < widths.length; part++) {
            Arrays.fill(scale, at, at + widths[part], each.get(part).floatValue());
            at += widths[part];
        }
        return MambaBlocks.Sizes.of(model, gatesFirst, norms ? groups : 0, scale);
    }
}
