package io.nightmill.models;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Qwen 3 (arXiv 2505.09388), dense and mixture of experts: norms on the heads of queries and keys. */
final class Qwen3 implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("qwen3", "qwen3_moe");
    }

    @Override
    public String layers(String modelType) {
        return "full attention with normed heads, dense or experts";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        Rope rope = model.rope();
        boolean sparse = experts(config) > 0;
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights attention = layer.in("self_attn");
            int window = sparse && config.booleanOr("use_sliding_window", false)
                    ? config.intOr("sliding_window", 0)
                    : Qwen2.window(model, i);
            model.add(Branch.of(
                    model.norm(layer, "input_layernorm"),
                    SoftmaxAttention.from(attention, model.hidden, rope, model.attention(window))
                            .normed(
                                    model.norm(attention, "q_norm", model.headDim),
                                    model.norm(attention, "k_norm", model.headDim))));
            FeedForward feedForward = sparse && isSparse(config, i)
                    ? experts(model, layer.in("mlp"), config.requireInt("moe_intermediate_size"))
                    : model.mlp(layer.in("mlp"));
            model.add(Branch.of(model.norm(layer, "post_attention_layernorm"), feedForward));
        }
        return model.decoder();
    }

    /** Transformers 5 has a new name for it. */
    private static int experts(ConfigNode config) {
        return config.intOr("num_experts", config.intOr("num_local_experts", 0));
    }

    /** Every {@code decoder_sparse_step}th layer has experts, unless {@code mlp_only_layers} names it. */
    static boolean isSparse(ConfigNode config, int i) {
        return !config.ints("mlp_only_layers").contains(i) && (i + 1) % config.intOr("decoder_sparse_step", 1) == 0;
    }

    /** Experts under the names that Qwen and OLMoE share, behind a softmax router. */
    static MixtureOfExperts experts(Blueprint model, Weights mlp, int inner) {
        int count = experts(model.config);
        Router router = Router.plain(
                count,
                model.config.requireInt("num_experts_per_tok"),
                Router.Scoring.SOFTMAX,
                model.config.booleanOr("norm_topk_prob", false));
        Glu glu = Glu.of(model.activation());
        return new MixtureOfExperts(
                Linear.from(mlp, "gate", count, model.hidden),
                null,
                router,
                Experts.from(mlp.in("experts"), count, model.hidden, inner, glu, "gate_proj", "up_proj", "down_proj"),
                null,
                null);
    }
}
