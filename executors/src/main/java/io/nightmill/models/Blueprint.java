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
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

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
    private String stem = "model";
    private String embeddingName = "embed_tokens";
    private String normName = "norm";
    private double embeddingScale = 1;
    private double logitScale = 1;
    private double softcap = 0;
    private @Nullable Norm embeddingNorm;
    private final List<Branch> branches = new ArrayList<>();
    private final Set<Rope> ropes = new LinkedHashSet<>();

    Blueprint(ConfigNode config, Weights weights) {
        this(config, weights, 0);
    }

    /** @param normOffset added to the weights of norms, unless the file format has done so */
    Blueprint(ConfigNode config, Weights weights, float normOffset) {
        this.config = config;
        this.weights = weights;
        int listed = config.texts("layers_block_type").size();
        // Nemotron-H has as many layers as its pattern has letters, whatever num_hidden_layers says.
        int letters = config.textOr("hybrid_override_pattern", "").length();
        this.layers = letters > 0
                ? letters
                : listed > 0 ? config.intOr("num_hidden_layers", listed) : config.requireInt("num_hidden_layers");
        this.hidden = config.requireInt("hidden_size");
        this.heads = config.intOr("num_attention_heads", config.intOr("num_heads", 1));
        this.kvHeads = config.intOr("num_key_value_heads", heads);
        if (layers < 0 || hidden < 1 || heads < 1 || kvHeads < 1) {
            throw new IllegalArgumentException(
                    "Cannot build %s: it has %d layers, hidden size %d, %d heads and %d key heads"
                            .formatted(config, layers, hidden, heads, kvHeads));
        }
        this.headDim = config.intOr("head_dim", hidden / heads);
        // Nemotron-H has layer_norm_epsilon and rms_norm_eps, and goes by the first.
        this.eps = (float) config.doubleOr(
                "layer_norm_epsilon",
                config.doubleOr("norm_eps", config.doubleOr("rms_norm_eps", config.doubleOr("block_norm_eps", 1e-6))));
        this.normOffset = (float) config.doubleOr("norm_weight_offset", normOffset);
    }

    /** Where a family's names differ: its stem, and under it the embedding and the last norm. */
    Blueprint named(String newStem, String embedding, String lastNorm) {
        stem = newStem;
        embeddingName = embedding;
        normName = lastNorm;
        return this;
    }

    /** Factors on embedded rows and on logits, and the logits' soft cap. */
    Blueprint scaled(double onEmbedding, double onLogits, double cap) {
        embeddingScale = onEmbedding;
        logitScale = onLogits;
        softcap = cap;
        return this;
    }

    Blueprint embeddingNormed(Norm norm) {
        embeddingNorm = norm;
        return this;
    }

    Weights layer(int i) {
        return weights.in(stem + ".layers." + i);
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
        return rope(1);
    }

    /** @param otherwise what rotates where the configuration does not say */
    Rope rope(double otherwise) {
        double part = config.doubleOr(
                "partial_rotary_factor", config.at("rope_parameters").doubleOr("partial_rotary_factor", otherwise));
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

    /** Whether a kind of layer is softmax attention; transformers 5 calls every other mixer linear attention. */
    static boolean attends(String kind) {
        return kind.equals("attention") || kind.equals("full_attention");
    }

    /** Embedding, branches, last norm and head; the head is the embedding where the two are tied. */
    Decoder decoder() {
        return decoder(norm(weights, stem + "." + normName));
    }

    Decoder decoder(Norm lastNorm) {
        int vocabulary = config.requireInt("vocab_size");
        Matrix embedding = weights.matrix(stem + "." + embeddingName + ".weight", vocabulary, hidden);
        // A head that is stored is the head, as in transformers 5.
        boolean tied = !weights.has("lm_head.weight")
                && config.booleanOr("tie_embedding", config.booleanOr("tie_word_embeddings", true));
        Linear head = tied
                ? new Linear(embedding, Linear.bias(weights, "lm_head", vocabulary))
                : Linear.from(weights, "lm_head", vocabulary, hidden);
        weights.ignore("*rotary_emb.inv_freq");
        return new Decoder(
                embedding,
                (float) embeddingScale,
                embeddingNorm,
                branches,
                ropes,
                lastNorm,
                head,
                (float) logitScale,
                (float) softcap);
    }

    /** Decay rates, negative: stored as the logarithms {@code A_log} of their sizes, or in GGUF as {@code A}. */
    static float[] rates(Weights weights, int... shape) {
        return rates(weights, "A_log", shape);
    }

    static float[] rates(Weights weights, String name, int... shape) {
        if (!weights.has(name)) {
            return weights.values("A", shape);
        }
        float[] rates = weights.values(name, shape);
        for (int i = 0; i < rates.length; i++) {
            rates[i] = (float) -Math.exp(rates[i]);
        }
        return rates;
    }

    /** Each value {@code times} times in a row. */
    static float[] repeated(float[] values, int times) {
        float[] all = new float[values.length * times];
        for (int i = 0; i < all.length; i++) {
            all[i] = values[i / times];
        }
        return all;
    }

    /** Rows {@code first .. first + count} of each of so many groups of {@code size} rows. */
    static int[] rows(int groups, int size, int first, int count) {
        int[] rows = new int[groups * count];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = i / count * size + first + i % count;
        }
        return rows;
    }

    /** A norm of rows to length 1. */
    static Norm unit(Weights weights, int width, double eps) {
        return even(weights, width, 1 / Math.sqrt(width), eps / width);
    }

    /** A root mean square norm of rows of a width, with one factor for all columns. */
    static Norm even(Weights weights, int width, double factor, double eps) {
        float[] factors = new float[width];
        Arrays.fill(factors, (float) factor);
        return new Norm.Rms(weights.upload(1, width, factors), (float) eps);
    }
}
