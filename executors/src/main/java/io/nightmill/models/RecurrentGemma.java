package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Unpack;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.RealGatedLru;
import io.nightmill.mixers.ShortConv;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** RecurrentGemma (arXiv 2404.07839), Griffin's layers: two of gated linear recurrence to one of local attention. */
final class RecurrentGemma implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("recurrent_gemma");
    }

    @Override
    public String layers(String modelType) {
        return "real-gated linear recurrent units and sliding attention, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights, 1).named("model", "embed_tokens", "final_norm");
        // The reference scales always, and by the root in bfloat16.
        float root = Unpack.bf16(Unpack.toBf16((float) Math.sqrt(model.hidden)));
        model.scaled(root, 1, config.doubleOr("logits_soft_cap", 30));
        // The reference (transformers 5) rotates whole heads, whatever partial_rotary_factor says.
        Rope rope = model.rope(Ropes.of(config, model.headDim));
        Activation activation = Activation.of(config.textOr("hidden_activation", "gelu_pytorch_tanh"));
        List<String> kinds = kinds(config);
        int inner = config.requireInt("intermediate_size") / 2;
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights block = layer.in("temporal_block");
            SequenceMixer mixer = kinds.get(i % kinds.size()).equals("attention")
                    ? SoftmaxAttention.from(
                            block, model.hidden, rope, model.attention(config.intOr("attention_window_size", 2048)))
                    : recurrent(model, block, activation);
            model.add(Branch.of(model.norm(layer, "temporal_pre_norm"), mixer));
            GatedMlp mlp = GatedMlp.from(layer.in("mlp_block"), model.hidden, inner, Glu.of(activation));
            model.add(Branch.of(model.norm(layer, "channel_pre_norm"), mlp));
        }
        return model.decoder();
    }

    private static List<String> kinds(ConfigNode config) {
        List<String> kinds = config.texts("block_types");
        kinds = kinds.isEmpty() ? config.texts("_block_types") : kinds;
        return kinds.isEmpty() ? List.of("recurrent", "recurrent", "attention") : kinds;
    }

    private static SequenceMixer recurrent(Blueprint model, Weights weights, Activation activation) {
        int width = model.config.intOr("lru_width", model.hidden);
        int heads = model.heads;
        int block = width / heads;
        Weights unit = weights.in("rg_lru");
        return new RealGatedLru(
                Linear.from(weights, "linear_x", width, model.hidden),
                Linear.from(weights, "linear_y", width, model.hidden),
                ShortConv.from(weights, "conv_1d", width, model.config.intOr("conv1d_width", 4), null),
                unit.stackTransposed("input_gate_weight", heads, block, block),
                unit.tensor("input_gate_bias", 0, heads, block).reshape(width),
                unit.stackTransposed("recurrent_gate_weight", heads, block, block),
                unit.tensor("recurrent_gate_bias", 0, heads, block).reshape(width),
                rate(unit, width),
                activation,
                Linear.from(weights, "linear_out", model.hidden, width));
    }

    /** {@code -8 softplus(parameter)}. */
    private static Tensor rate(Weights unit, int width) {
        float[] values = unit.values("recurrent_param", width);
        for (int i = 0; i < width; i++) {
            values[i] = (float) (-8 * (Math.max(0, values[i]) + Math.log1p(Math.exp(-Math.abs(values[i])))));
        }
        return unit.upload(1, width, values);
    }
}
