package io.nightmill.models;

import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Norm;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Mamba (arXiv 2312.00752), Falcon Mamba (arXiv 2410.05355) and Mamba-2 (arXiv 2405.21060): nothing but their mixers. */
final class MambaFamily implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("mamba", "falcon_mamba", "mamba2");
    }

    @Override
    public String layers(String modelType) {
        return (modelType.equals("mamba2") ? "Mamba-2" : "Mamba") + ", nothing else";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("backbone", "embeddings", "norm_f");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            model.add(Branch.of(model.norm(layer, "norm"), mixer(model, layer.in("mixer"))));
        }
        return model.decoder();
    }

    private static SequenceMixer mixer(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int kernel = config.intOr("conv_kernel", 4);
        int inner = config.intOr("intermediate_size", config.intOr("expand", 2) * model.hidden);
        if (config.requireText("model_type").equals("mamba2")) {
            return MambaBlocks.mamba2(weights, MambaBlocks.Sizes.pure(model, true, 1));
        }
        int stateSize = config.intOr("state_size", 16);
        int rank = MambaBlocks.rank(config, "time_step_rank", model.hidden);
        List<@Nullable Norm> norms = MambaBlocks.unnormed();
        if (config.requireText("model_type").equals("falcon_mamba")) {
            float eps = (float) config.doubleOr("mixer_rms_eps", 1e-6);
            norms = List.of(plain(eps), plain(eps), plain(eps));
        }
        return MambaBlocks.mamba(weights, model, inner, stateSize, rank, kernel, norms);
    }

    private static Norm plain(float eps) {
        @Nullable Tensor weight = null;
        return new Norm.Rms(weight, eps);
    }
}
