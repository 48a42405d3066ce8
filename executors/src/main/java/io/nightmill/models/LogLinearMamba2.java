package io.nightmill.models;

import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
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
        return "Mamba-2 with a state per power of two of the past, nothing else";
    }

    @Override
    public boolean isProven() {
        return false;
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("backbone", "embeddings", "norm_f");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights mixer = layer.in("mixer");
            int levels = config.has("num_levels") ? config.requireInt("num_levels") : mixer.shape("L")[1];
            model.add(Branch.of(
                    model.norm(layer, "norm"), MambaBlocks.mamba2(mixer, MambaBlocks.Sizes.pure(model), levels)));
        }
        return model.decoder();
    }
}
