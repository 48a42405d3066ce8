package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.Layer;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Mlp;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** Nemotron-H (arXiv 2504.03624) and Nemotron 3: one layer per block, Mamba-2, attention, feed-forward or experts. */
final class NemotronH implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("nemotron_h");
    }

    @Override
    public String layers(String modelType) {
        return "Mamba-2, attention, feed-forward or experts, one per block";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        boolean single = weights.has("backbone.embedding.weight");
        Blueprint model =
                new Blueprint(config, weights).named("backbone", single ? "embedding" : "embeddings", "norm_f");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights mixer = layer.in("mixer");
            Layer block =
                    switch (kind(config, i)) {
                        case "M", "mamba", "linear_attention" -> MambaBlocks.mamba2(mixer, sizes(model));
                        case "*", "attention", "full_attention" -> SoftmaxAttention.from(
                                mixer, model.hidden, null, model.attention(0));
                        case "-", "mlp" -> mlp(mixer, model, config.requireInt("intermediate_size"));
                        case "E", "moe" -> experts(mixer, model);
                        default -> throw new IllegalArgumentException(
                                "Cannot build layer %d of %s: its kind is '%s', expected M, *, - or E"
                                        .formatted(i, config, kind(config, i)));
                    };
            model.add(Branch.of(model.norm(layer, "norm"), block));
        }
        return model.decoder();
    }

    private static String kind(ConfigNode config, int i) {
        List<String> kinds = config.texts("layers_block_type");
        return kinds.isEmpty() ? config.requireText("hybrid_override_pattern").substring(i, i + 1) : kinds.get(i);
    }

    /** The reference bounds dt below by time_step_min and ignores time_step_limit. */
    private static MambaBlocks.Sizes sizes(Blueprint model) {
        ConfigNode config = model.config;
        int groups = config.intOr("n_groups", 8);
        return new MambaBlocks.Sizes(
                model.hidden,
                config.requireInt("mamba_num_heads"),
                config.requireInt("mamba_head_dim"),
                groups,
                config.requireInt("ssm_state_size"),
                config.intOr("conv_kernel", 4),
                model.eps,
                groups,
                true,
                (float) config.doubleOr("time_step_min", 0.001),
                Float.POSITIVE_INFINITY,
                null,
                Activation.of(config.textOr("mamba_hidden_act", "silu")));
    }

    private static Mlp mlp(Weights weights, Blueprint model, int inner) {
        return new Mlp(
                Linear.from(weights, "up_proj", inner, model.hidden),
                Linear.from(weights, "down_proj", model.hidden, inner),
                Activation.of(model.config.textOr("mlp_hidden_act", "relu2")));
    }

    private static FeedForward experts(Weights weights, Blueprint model) {
        ConfigNode config = model.config;
        int count = config.requireInt("n_routed_experts");
        int inner = config.requireInt("moe_intermediate_size");
        Router router = new Router(
                count,
                config.requireInt("num_experts_per_tok"),
                Router.Scoring.SIGMOID,
                config.booleanOr("norm_topk_prob", true),
                config.intOr("n_group", 1),
                config.intOr("topk_group", 1),
                Router.GroupScore.SUM_OF_TOP_2,
                Float.NEGATIVE_INFINITY,
                (float) config.doubleOr("routed_scaling_factor", 1),
                false,
                0);
        int latent = config.intOr("moe_latent_size", 0);
        int width = latent == 0 ? model.hidden : latent;
        Experts experts = new Experts(
                List.of(Experts.each(weights.in("experts"), "up_proj", count, inner, width)),
                List.of(),
                Experts.each(weights.in("experts"), "down_proj", count, width, inner),
                null,
                Glu.of(Activation.of(config.textOr("mlp_hidden_act", "relu2"))));
        int shared = config.intOr("moe_shared_expert_intermediate_size", inner);
        return new MixtureOfExperts(
                Linear.from(weights, "gate", count, model.hidden),
                weights.vector("gate.e_score_correction_bias", count),
                router,
                experts,
                shared == 0 ? null : mlp(weights.in("shared_experts"), model, shared),
                null,
                latent == 0 ? null : Linear.from(weights, "fc1_latent_proj", latent, model.hidden),
                latent == 0 ? null : Linear.from(weights, "fc2_latent_proj", model.hidden, latent));
    }
}
