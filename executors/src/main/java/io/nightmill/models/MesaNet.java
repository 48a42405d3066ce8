package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.RidgeRegression;
import io.nightmill.mixers.ShortConv;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** MesaNet (arXiv 2506.05233) under flash-linear-attention's names. */
final class MesaNet implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("mesa_net");
    }

    @Override
    public String layers(String modelType) {
        return "online ridge regression, alone or with attention, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        return Fla.decoder(config, weights, (model, scope, layer) -> mixer(model, scope));
    }

    private static SequenceMixer mixer(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int heads = config.requireInt("num_heads");
        int headDim = config.intOr("head_dim", 128);
        int width = heads * headDim;
        float[] ridge = weights.values("lambda_params", width);
        float bound = (float) config.doubleOr("lambda_lower_bound", 0.25);
        for (int i = 0; i < width; i++) {
            ridge[i] = (float) Math.log1p(Math.exp(ridge[i])) + bound;
        }
        Norm unit = Blueprint.unit(weights, headDim, 1e-6);
        boolean gates = config.booleanOr("use_output_gate", false);
        return new RidgeRegression(
                input(model, weights, "q", width, unit),
                input(model, weights, "k", width, unit),
                input(model, weights, "v", width, null),
                Linear.from(weights, "a_proj", heads, model.hidden),
                Linear.from(weights, "b_proj", heads, model.hidden),
                weights.upload(heads, headDim, ridge),
                gates ? Linear.from(weights, "g_proj", width, model.hidden) : null,
                new Readout(
                        model.norm(weights, "o_norm", headDim),
                        false,
                        Activation.SILU,
                        Linear.from(weights, "o_proj", model.hidden, width)));
    }

    private static Input input(Blueprint model, Weights weights, String name, int width, @Nullable Norm unit) {
        int kernel = model.config.intOr("conv_size", 4);
        String conv = name + "_conv1d";
        return new Input(
                Linear.from(weights, name + "_proj", width, model.hidden),
                weights.has(conv + ".weight") ? ShortConv.from(weights, conv, width, kernel, Activation.SILU) : null,
                null,
                unit);
    }
}
