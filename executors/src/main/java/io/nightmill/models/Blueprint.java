package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Rope;
import io.nightmill.tensor.Matrix;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** What the families of Hugging Face's transformers share: the common keys, and the parts under their usual names. */
final class Blueprint {
    final ConfigNode config;
    final Weights weights;
    final int layers;
    final int hidden;
    final int heads;
    final int kvHeads;
    final int headDim;
    final float eps;

    private final float normOffset;
    private final List<Branch> branches = new ArrayList<>();
    private final Set<Rope> ropes = new LinkedHashSet<>();

    Blueprint(ConfigNode config, Weights weights) {
        this(config, weights, 0);
    }

    /** @param normOffset added to the weights of norms, unless the file format has done so */
    Blueprint(ConfigNode config, Weights weights, float normOffset) {
        this.config = config;
        this.weights = weights;
        this.layers = config.requireInt("num_hidden_layers");
        this.hidden = config.requireInt("hidden_size");
        this.heads = config.requireInt("num_attention_heads");
        this.kvHeads = config.intOr("num_key_value_heads", heads);
        this.headDim = config.intOr("head_dim", hidden / heads);
        this.eps = (float) config.doubleOr("rms_norm_eps", 1e-6);
        this.normOffset = (float) config.doubleOr("norm_weight_offset", normOffset);
    }

    Weights layer(int i) {
        return weights.in("model.layers." + i);
    }

    Norm norm(Weights scope, String name) {
        return Norm.rms(scope, name, hidden, eps, normOffset);
    }

    Norm norm(Weights scope, String name, int width) {
        return Norm.rms(scope, name, width, eps, normOffset);
    }

    Rope rope(Rope rope) {
        ropes.add(rope);
        return rope;
    }

    /** The model's rope over {@code partial_rotary_factor} of each head. */
    Rope rope() {
        double part = config.doubleOr(
                "partial_rotary_factor", config.at("rope_parameters").doubleOr("partial_rotary_factor", 1));
        return rope(Ropes.of(config, (int) (headDim * part)));
    }

    Attention attention(int window) {
        return attention(window, headDim, 0);
    }

    /** Attention whose scores are divided by the root of {@code scalar}. */
    Attention attention(int window, double scalar, double softcap) {
        return new Attention(
                heads, kvHeads, headDim, headDim, (float) (1 / Math.sqrt(scalar)), window, (float) softcap, null);
    }

    Activation activation() {
        return Activation.of(config.textOr("hidden_act", "silu"));
    }

    GatedMlp mlp(Weights scope) {
        return GatedMlp.from(scope, hidden, config.requireInt("intermediate_size"), Glu.of(activation()));
    }

    void add(Branch branch) {
        branches.add(branch);
    }

    /** Whether layer {@code i} slides: by {@code layer_types} where the configuration has it. */
    boolean slides(int i, boolean otherwise) {
        List<String> types = config.texts("layer_types");
        return types.isEmpty() ? otherwise : types.get(i).equals("sliding_attention");
    }

    Decoder decoder() {
        return decoder(1, 0);
    }

    /** Embedding, branches, {@code model.norm} and head; the head is the embedding where the two are tied. */
    Decoder decoder(double embeddingScale, double softcap) {
        int vocabulary = config.requireInt("vocab_size");
        Matrix embedding = weights.matrix("model.embed_tokens.weight", vocabulary, hidden);
        boolean tied = config.booleanOr("tie_word_embeddings", !weights.has("lm_head.weight"));
        Linear head = tied ? new Linear(embedding, null) : Linear.from(weights, "lm_head", vocabulary, hidden);
        if (tied) {
            weights.ignore("lm_head.weight");
        }
        weights.ignore("*rotary_emb.inv_freq");
        Norm norm = norm(weights, "model.norm");
        return new Decoder(embedding, (float) embeddingScale, branches, ropes, norm, head, 1, (float) softcap);
    }
}
