package io.nightmill.models;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Experts;
import io.nightmill.layers.Linear;
import io.nightmill.layers.MixtureOfExperts;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** Phi-3.5-MoE (arXiv 2404.14219): LongRoPE with its own scales, layer norms, and a sparse mixer for a router. */
final class PhiMoe implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("phimoe");
    }

    @Override
    public String layers(String modelType) {
        return "full attention, LongRoPE, experts behind a sparse mixer";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights);
        Rope rope = model.rope();
        int count = config.requireInt("num_local_experts");
        Router router = new Router(
                count,
                // Whatever num_experts_per_tok says.
                2,
                Router.Scoring.SPARSE_MIXER,
                false,
                1,
                1,
                Router.GroupScore.MAX,
                0,
                1,
                false,
                (float) config.doubleOr("router_jitter_noise", 0.01));
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            Weights moe = layer.in("block_sparse_moe");
            model.add(Branch.of(
                    norm(model, layer, "input_layernorm"),
                    SoftmaxAttention.from(
                            layer.in("self_attn"),
                            model.hidden,
                            rope,
                            model.attention(config.intOr("sliding_window", 0)))));
            model.add(Branch.of(
                    norm(model, layer, "post_attention_layernorm"),
                    new MixtureOfExperts(
                            Linear.from(moe, "gate", count, model.hidden),
                            null,
                            router,
                            Experts.from(
                                    moe.in("experts"),
                                    count,
                                    model.hidden,
                                    config.requireInt("intermediate_size"),
                                    Glu.of(model.activation()),
                                    "w1",
                                    "w3",
                                    "w2"),
                            null,
                            null)));
        }
        return model.decoder(norm(model, weights, "model.norm"));
    }

    private static Norm norm(Blueprint model, Weights scope, String name) {
        return new Norm.LayerNorm(
                scope.vector(name + ".weight", model.hidden), scope.vector(name + ".bias", model.hidden), model.eps);
    }
}
