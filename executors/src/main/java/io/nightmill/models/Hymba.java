package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Rope;
import io.nightmill.mixers.HybridHeads;
import io.nightmill.mixers.Mamba;
import io.nightmill.mixers.ShortConv;
import io.nightmill.tensor.Matrix;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Hymba (arXiv 2411.13676): attention and Mamba heads in one layer, learned meta tokens before every prompt, windows in most
 * layers, and keys and values that neighbours share.
 */
final class Hymba implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("hymba");
    }

    @Override
    public String layers(String modelType) {
        return "Mamba and full or sliding attention heads in each layer, meta tokens, dense";
    }

    @Override
    public boolean isProven() {
        return false;
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("model", "embed_tokens", "final_layernorm");
        if (config.intOr("num_experts", 1) > 1
                || !config.textOr("kq_norm", "none").equals("none")) {
            throw new IllegalArgumentException(
                    "Cannot build %s: expected num_experts 1 and kq_norm 'none'".formatted(config));
        }
        Rope rope = model.rope(Ropes.of(config, model.headDim, base(config, model.headDim), config.at("rope_scaling")));
        Map<Integer, HybridHeads> built = new HashMap<>();
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            HybridHeads mixer = heads(model, layer.in("mamba"), rope, i, built.get(source(config, i)));
            built.put(i, mixer);
            model.add(Branch.of(model.norm(layer, "input_layernorm"), mixer));
            model.add(Branch.of(model.norm(layer, "pre_moe_layernorm"), model.mlp(layer.in("moe.experts.0"))));
        }
        return withMetaTokens(model.decoder(), weights, config.intOr("num_memory_tokens", 0));
    }

    /** The first layer of a group shares its keys and values with the others; a layer of no group has its own. */
    private static int source(ConfigNode config, int layer) {
        for (List<Integer> group : config.intLists("kv_reuse_group")) {
            if (group.contains(layer) && group.get(0) != layer) {
                return group.get(0);
            }
        }
        return -1;
    }

    /** Rope's base; "ntk" stretches it to the whole context once and for all. */
    private static double base(ConfigNode config, int headDim) {
        double base = config.doubleOr("rope_theta", 10000);
        String type = config.textOr("rope_type", "default");
        if (type.equals("ntk")) {
            double factor = config.requireDouble("max_position_embeddings")
                    / config.doubleOr("orig_max_position_embeddings", 2048);
            return base * Math.pow(factor, headDim / (headDim - 2.0));
        }
        if (!type.equals("default")) {
            throw new IllegalArgumentException(
                    "Cannot build %s: rope_type is '%s', expected ntk or none".formatted(config, type));
        }
        return base;
    }

    private static HybridHeads heads(
            Blueprint model, Weights weights, Rope rope, int layer, @Nullable HybridHeads source) {
        ConfigNode config = model.config;
        int inner = config.intOr("mamba_expand", 2) * model.hidden;
        int valueDim = config.intOr("v_head_dim", inner / model.heads);
        int queries = model.heads * model.headDim;
        int keys = source == null ? model.kvHeads * model.headDim : 0;
        int values = source == null ? model.kvHeads * valueDim : 0;
        int stateSize = config.intOr("mamba_d_state", 16);
        int rank = MambaBlocks.rank(config, "mamba_dt_rank", model.hidden);
        boolean global = config.ints("global_attn_idx").contains(layer);
        Attention attention = new Attention(
                model.heads,
                model.kvHeads,
                model.headDim,
                valueDim,
                (float) (1 / Math.sqrt(model.headDim)),
                global ? 0 : config.intOr("sliding_window", 0),
                0,
                null,
                config.intOr("num_memory_tokens", 0));
        // Queries, keys, values, Mamba's inputs, its gates.
        Linear input = Linear.from(weights, "in_proj", queries + keys + values + 2 * inner, model.hidden);
        return new HybridHeads(
                input.rows(0, queries),
                source == null ? input.rows(queries, keys) : null,
                source == null ? input.rows(queries + keys, values) : null,
                source,
                rope,
                attention,
                model.norm(weights, "pre_avg_layernorm1", inner),
                new Mamba(
                        input.rows(queries + keys + values, 2 * inner),
                        ShortConv.from(weights, "conv1d", inner, config.intOr("mamba_d_conv", 4), Activation.SILU),
                        Linear.from(weights, "x_proj.0", rank + 2 * stateSize, inner),
                        model.norm(weights, "dt_layernorm", rank),
                        model.norm(weights, "B_layernorm", stateSize),
                        model.norm(weights, "C_layernorm", stateSize),
                        Linear.from(weights, "dt_proj.0", inner, rank),
                        weights.upload(stateSize, inner, MambaBlocks.byState(weights, "A_log.0", inner, stateSize)),
                        weights.vector("D.0", inner),
                        Linear.from(weights, "out_proj", model.hidden, inner)),
                model.norm(weights, "pre_avg_layernorm2", inner));
    }

    /** The meta tokens become rows of the embedding after the vocabulary's. */
    private static Decoder withMetaTokens(Decoder plain, Weights weights, int count) {
        if (count == 0) {
            return plain;
        }
        Matrix words = plain.embedding();
        Matrix meta = weights.matrix("model.memory_tokens", count, plain.hidden());
        if (meta.format() != words.format() || words.panels().count() > 1 || count > words.out()) {
            throw new IllegalArgumentException("Cannot append %d meta tokens in %s to an embedding of %d words in %s"
                    .formatted(count, meta.format(), words.out(), words.format()));
        }
        Matrix both = new Matrix(
                words.format(),
                words.out() + count,
                words.in(),
                List.of(words.panels().get(0), meta.panels().get(0)),
                words.out(),
                null);
        return new Decoder(
                both,
                IntStream.range(words.out(), both.out()).toArray(),
                plain.embeddingScale(),
                plain.embeddingNorm(),
                plain.branches(),
                plain.ropes(),
                plain.norm(),
                plain.head(),
                plain.logitScale(),
                plain.softcap());
    }
}
