package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.models.MambaBlocks.Sizes;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Log-linear Mamba-2 (arXiv 2506.04761) under flash-linear-attention's names: a state per scale of time. */
final class LogLinearMamba2 implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("log_linear_mamba2");
    }

    @Override
    public String layers(String modelType) {
        return "Mamba-2 with a state per power of two of the past, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("backbone", "embeddings", "norm_f");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights mixer = layer.in("mixer");
            int levels = config.has("num_levels") ? config.requireInt("num_levels") : mixer.shape("L")[1];
            boolean gatesFirst = !config.booleanOr("norm_before_gate", false);
            Sizes sizes = Sizes.pure(model, gatesFirst, config.intOr("n_groups", 1));
            model.add(Branch.of(model.norm(layer, "mixer_norm"), MambaBlocks.mamba2(mixer, sizes, levels)));
            int inner = Fla.inner(config, model.hidden);
            GatedMlp mlp = GatedMlp.from(layer.in("mlp"), model.hidden, inner, Glu.of(Activation.SILU));
            model.add(Branch.of(model.norm(layer, "mlp_norm"), mlp));
        }
        return model.decoder();
    }
}
