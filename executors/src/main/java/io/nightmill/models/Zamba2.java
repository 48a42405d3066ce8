package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.FeedForward;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.SharedBlock;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Zamba2 (arXiv 2411.15242): Mamba-2, and now and then a transformer block whose weights are shared, with adapters. */
final class Zamba2 implements ModelFamily {
    /** Of the norm in Mamba-2, whatever rms_norm_eps says. */
    private static final float MAMBA_EPS = 1e-5f;

    @Override
    public Set<String> modelTypes() {
        return Set.of("zamba2");
    }

    @Override
    public String layers(String modelType) {
        return "Mamba-2 and shared attention blocks with adapters";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("model", "embed_tokens", "final_layernorm");
        int headDim = config.intOr("attention_head_dim", 2 * model.hidden / model.heads);
        Rope rope = config.booleanOr("use_mem_rope", false) ? model.rope(Ropes.of(config, headDim)) : null;
        List<String> types = config.texts("layers_block_type");
        List<Integer> hybrids = new ArrayList<>();
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            if (!types.get(i).equals("hybrid")) {
                model.add(Branch.of(
                        model.norm(layer, "input_layernorm"), MambaBlocks.mamba2(layer.in("mamba"), sizes(model))));
                continue;
            }
            hybrids.add(i);
            int use = hybrids.size() - 1;
            int owner = hybrids.get(use % config.intOr("num_mem_blocks", 1));
            Weights shared = model.layer(owner).in("shared_transformer");
            Weights mamba = layer.in("mamba_decoder");
            model.add(Branch.of(
                    null,
                    new SharedBlock(
                            model.norm(shared, "input_layernorm", 2 * model.hidden),
                            attention(model, shared.in("self_attn"), use, headDim, rope),
                            model.norm(shared, "pre_ff_layernorm"),
                            feedForward(model, shared.in("feed_forward"), use),
                            Linear.from(layer, "linear", model.hidden, model.hidden),
                            model.norm(mamba, "input_layernorm"),
                            MambaBlocks.mamba2(mamba.in("mamba"), sizes(model)))));
        }
        return model.decoder();
    }

    /** The reference bounds dt below by time_step_min and ignores time_step_limit. */
    private static MambaBlocks.Sizes sizes(Blueprint model) {
        ConfigNode config = model.config;
        int inner = config.intOr("mamba_expand", 2) * model.hidden;
        int heads = config.intOr("n_mamba_heads", 8);
        int groups = config.intOr("mamba_ngroups", 1);
        return new MambaBlocks.Sizes(
                model.hidden,
                heads,
                config.intOr("mamba_headdim", inner / heads),
                groups,
                config.intOr("mamba_d_state", 64),
                config.intOr("mamba_d_conv", 4),
                MAMBA_EPS,
                groups,
                true,
                (float) config.doubleOr("time_step_min", 0.001),
                Float.POSITIVE_INFINITY,
                null,
                // The reference's, whatever hidden_act says.
                Activation.SILU);
    }

    private static SoftmaxAttention attention(
            Blueprint model, Weights weights, int use, int headDim, @Nullable Rope rope) {
        int width = model.heads * headDim;
        int keys = model.kvHeads * headDim;
        float scale = (float) (1 / Math.sqrt(headDim / 2.0));
        return new SoftmaxAttention(
                adapted(weights, "q_proj", "linear_q_adapter_list." + use, width, 2 * model.hidden, model),
                adapted(weights, "k_proj", "linear_k_adapter_list." + use, keys, 2 * model.hidden, model),
                adapted(weights, "v_proj", "linear_v_adapter_list." + use, keys, 2 * model.hidden, model),
                Linear.from(weights, "o_proj", model.hidden, width),
                null,
                null,
                rope,
                new Attention(model.heads, model.kvHeads, headDim, headDim, scale, 0, 0, null),
                0,
                null);
    }

    private static Projection adapted(Weights weights, String name, String adapter, int out, int in, Blueprint model) {
        Linear base = Linear.from(weights, name, out, in);
        return weights.has(adapter + ".0.weight")
                ? new Projection.Adapted(base, adapter(weights.in(adapter), out, in, model))
                : base;
    }

    private static Projection.LowRank adapter(Weights weights, int out, int in, Blueprint model) {
        int rank = model.config.intOr("adapter_rank", 128);
        return new Projection.LowRank(Linear.from(weights, "0", rank, in), null, Linear.from(weights, "1", out, rank));
    }

    private static FeedForward feedForward(Blueprint model, Weights weights, int use) {
        int inner = model.config.intOr("intermediate_size", 4 * model.hidden);
        Linear both = Linear.from(weights, "gate_up_proj", 2 * inner, model.hidden);
        Projection gate = both.rows(0, inner);
        Projection up = both.rows(inner, inner);
        String name = "gate_up_proj_adapter_list." + use;
        if (weights.has(name + ".0.weight")) {
            Projection.LowRank low = adapter(weights.in(name), 2 * inner, model.hidden, model);
            gate = new Projection.Adapted(
                    both.rows(0, inner),
                    new Projection.LowRank(low.down(), null, low.up().rows(0, inner)));
            up = new Projection.Adapted(
                    both.rows(inner, inner),
                    new Projection.LowRank(low.down(), null, low.up().rows(inner, inner)));
        }
        return new GatedMlp(
                gate, up, Linear.from(weights, "down_proj", model.hidden, inner), Glu.of(model.activation()));
    }
}
