package io.nightmill.models;

import io.nightmill.kernels.FastWeights;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.ConvolutionLayer;
import io.nightmill.mixers.ShortConv;
import io.nightmill.mixers.TestTimeTraining;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** TTT-Linear and TTT-MLP (arXiv 2407.04620) under the names of github.com/test-time-training/ttt-lm-pytorch. */
final class Ttt implements ModelFamily {
    private static final float EPS = 1e-6f;

    @Override
    public Set<String> modelTypes() {
        return Set.of("ttt");
    }

    @Override
    public String layers(String modelType) {
        return "TTT-Linear or TTT-MLP, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        int miniBatch = config.intOr("mini_batch_size", 16);
        Rope rope =
                model.rope(Ropes.of(config, model.headDim).withInterleaved(true).withPeriod(miniBatch));
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            if (config.booleanOr("pre_conv", false)) {
                ShortConv conv = conv(config, layer.in("conv"), "conv", model.hidden);
                model.add(Branch.of(model.norm(layer, "conv.norm"), new ConvolutionLayer(conv)));
            }
            model.add(Branch.of(
                    model.norm(layer, "seq_norm"), mixer(model, layer.in("seq_modeling_block"), rope, miniBatch)));
            model.add(Branch.of(model.norm(layer, "ffn_norm"), model.mlp(layer.in("mlp"))));
        }
        return model.decoder();
    }

    private static ShortConv conv(ConfigNode config, Weights weights, String name, int width) {
        return ShortConv.from(weights, name, width, config.intOr("conv_kernel", 4), null);
    }

    private static TestTimeTraining mixer(Blueprint model, Weights weights, Rope rope, int miniBatch) {
        ConfigNode config = model.config;
        int hidden = model.hidden;
        int heads = model.heads;
        boolean shares = config.booleanOr("share_qk", false);
        return new TestTimeTraining(
                square(weights, "q_proj", hidden),
                shares ? null : square(weights, "k_proj", hidden),
                square(weights, "v_proj", hidden),
                shares ? conv(config, weights, "conv_q", hidden) : null,
                shares ? conv(config, weights, "conv_k", hidden) : null,
                rope,
                new Linear(
                        weights.matrix("learnable_ttt_lr_weight", heads, hidden),
                        weights.vector("learnable_ttt_lr_bias", heads)),
                (float) (config.doubleOr("ttt_base_lr", 1) / model.headDim),
                fastWeights(model, weights, miniBatch),
                new Norm.LayerNorm(
                        weights.vector("post_norm.weight", hidden), weights.vector("post_norm.bias", hidden), EPS),
                config.booleanOr("use_gate", false) ? square(weights, "g_proj", hidden) : null,
                square(weights, "o_proj", hidden));
    }

    private static Linear square(Weights weights, String name, int hidden) {
        return Linear.from(weights, name, hidden, hidden);
    }

    private static FastWeights fastWeights(Blueprint model, Weights weights, int miniBatch) {
        int heads = model.heads;
        int dim = model.headDim;
        boolean linear = model.config.textOr("ttt_layer_type", "linear").equals("linear");
        int inner = linear ? 0 : 4 * dim;
        float[] tokenRate = weights.values("learnable_token_idx", miniBatch);
        for (int i = 0; i < miniBatch; i++) {
            tokenRate[i] = Math.max(0, 1f / (i + 1) + tokenRate[i]);
        }
        float[][] parts = linear
                ? new float[][] {weights.values("W1", heads, dim, dim), weights.values("b1", heads, dim)}
                : new float[][] {
                    weights.values("W1", heads, dim, inner),
                    weights.values("b1", heads, inner),
                    weights.values("W2", heads, inner, dim),
                    weights.values("b2", heads, dim)
                };
        int width = 0;
        for (float[] part : parts) {
            width += part.length / heads;
        }
        float[] initial = new float[heads * width];
        for (int h = 0; h < heads; h++) {
            int at = h * width;
            for (float[] part : parts) {
                int size = part.length / heads;
                System.arraycopy(part, h * size, initial, at, size);
                at += size;
            }
        }
        return new FastWeights(
                heads,
                dim,
                inner,
                tokenRate,
                weights.upload(heads, width, initial),
                weights.tensor("ttt_norm_weight", 0, heads, dim),
                weights.tensor("ttt_norm_bias", 0, heads, dim),
                EPS);
    }
}
