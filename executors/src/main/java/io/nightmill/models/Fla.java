package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Recurrence.Rule;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.GatedMlp;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Projection.LowRank;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.Decay;
import io.nightmill.mixers.GatedScan;
import io.nightmill.mixers.GatedSlotAttention;
import io.nightmill.mixers.LinearAttention;
import io.nightmill.mixers.LinearAttention.Input;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.ShortConv;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The linear mixers of flash-linear-attention (github.com/fla-org) in its one frame of a decoder, alone or with layers of
 * softmax attention among them.
 */
final class Fla implements ModelFamily {
    /** The reference's own, which no configuration changes: a gate's inner width, and the root that is taken of it. */
    private static final int GLA_RANK = 16;

    private static final int GLA_POWER = 16;

    @Override
    public Set<String> modelTypes() {
        return Set.of("retnet", "gla", "delta_net", "gated_deltanet", "kda", "gsa", "hgrn", "hgrn2");
    }

    @Override
    public String layers(String modelType) {
        String mixer =
                switch (modelType) {
                    case "retnet" -> "retention";
                    case "gla" -> "gated linear attention";
                    case "delta_net" -> "DeltaNet";
                    case "gated_deltanet" -> "Gated DeltaNet";
                    case "kda" -> "Kimi Delta Attention";
                    case "gsa" -> "gated slot attention";
                    case "hgrn" -> "HGRN's gated scan";
                    default -> "HGRN2's expanded states";
                };
        return mixer + ", alone or with attention, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        return decoder(config, weights, Fla::mixer);
    }

    /** What a layer mixes with where it is not softmax attention. */
    interface Mixers {
        SequenceMixer of(Blueprint model, Weights weights, int layer);
    }

    /** The frame that all of them share. */
    static Decoder decoder(ConfigNode config, Weights weights, Mixers mixers) {
        Blueprint model = new Blueprint(config, weights).named("model", "embeddings", "norm");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            SequenceMixer mixer =
                    attends(config, i) ? attention(model, layer.in("attn")) : mixers.of(model, layer.in("attn"), i);
            model.add(Branch.of(model.norm(layer, "attn_norm"), mixer));
            GatedMlp mlp = GatedMlp.from(
                    layer.in("mlp"), model.hidden, inner(config, model.hidden), Glu.of(model.activation()));
            model.add(Branch.of(model.norm(layer, "mlp_norm"), mlp));
        }
        return model.decoder();
    }

    /** Given, or two thirds of a multiple, in steps of 256. */
    static int inner(ConfigNode config, int hidden) {
        int reduced = (int) (hidden * config.doubleOr("hidden_ratio", 4) * 2 / 3);
        return config.intOr("intermediate_size", (reduced + 255) / 256 * 256);
    }

    /** Whether a layer is one of softmax attention. */
    static boolean attends(ConfigNode config, int layer) {
        return config.at("attn").ints("layers").contains(layer);
    }

    static SoftmaxAttention attention(Blueprint model, Weights weights) {
        ConfigNode attn = model.config.at("attn");
        int heads = attn.requireInt("num_heads");
        int kvHeads = attn.intOr("num_kv_heads", heads);
        int headDim = model.hidden / heads;
        Rope rope = model.rope(Ropes.of(model.config, headDim, attn.doubleOr("rope_theta", 10000), attn));
        float scale = (float) (1 / Math.sqrt(headDim));
        int window = attn.intOr("window_size", 0);
        SoftmaxAttention attention = SoftmaxAttention.from(
                weights, model.hidden, rope, new Attention(heads, kvHeads, headDim, headDim, scale, window, 0, null));
        return weights.has("q_norm.weight")
                ? attention.normed(model.norm(weights, "q_norm", headDim), model.norm(weights, "k_norm", headDim))
                : attention;
    }

    private static SequenceMixer mixer(Blueprint model, Weights weights, int layer) {
        String type = model.config.requireText("model_type");
        return switch (type) {
            case "retnet" -> retention(model, weights);
            case "gla" -> gated(model, weights);
            case "delta_net" -> delta(model, weights);
            case "gated_deltanet", "kda" -> gatedDelta(model, weights, type.equals("kda"));
            case "gsa" -> slots(model, weights);
            case "hgrn" -> scan(model, weights, layer);
            case "hgrn2" -> expanded(model, weights, layer);
            default -> throw new IllegalStateException(type);
        };
    }

    private static Linear linear(Blueprint model, Weights weights, String name, int out) {
        return Linear.from(weights, name, out, model.hidden);
    }

    /**
     * Query, key or value of heads of which {@code group} share what is stored.
     *
     * @param convolves whether a convolution with its SiLU comes before the activation
     */
    private static Input input(
            Blueprint model,
            Weights weights,
            String name,
            Heads heads,
            boolean convolves,
            @Nullable Activation activation) {
        ShortConv conv = convolves ? conv(model, weights, name, heads, Activation.SILU) : null;
        return new Input(linear(weights, name + "_proj", model.hidden, heads), conv, activation, null);
    }

    /** The same with a convolution that has no activation, and no heads that share. */
    private static Input plainInput(
            Blueprint model,
            Weights weights,
            String name,
            int width,
            boolean convolves,
            @Nullable Activation activation) {
        ShortConv conv = convolves ? conv(model, weights, name, new Heads(1, width, 1), null) : null;
        return new Input(linear(model, weights, name + "_proj", width), conv, activation, null);
    }

    private static boolean convolves(Blueprint model, boolean otherwise) {
        return model.config.booleanOr("use_short_conv", otherwise);
    }

    private static ShortConv conv(
            Blueprint model, Weights weights, String name, Heads heads, @Nullable Activation activation) {
        int kernel = model.config.intOr("conv_size", 4);
        String conv1d = name + "_conv1d";
        return heads.group == 1
                ? ShortConv.from(weights, conv1d, heads.stored(), kernel, activation)
                : ShortConv.columnsOf(weights, conv1d, heads.stored(), kernel, activation, heads.rows());
    }

    private static Linear linear(Weights weights, String name, int in, Heads heads) {
        return heads.group == 1
                ? Linear.from(weights, name, heads.stored(), in)
                : Linear.rowsOf(weights, name, heads.stored(), in, heads.rows());
    }

    /** So many heads of {@code dim} values, of which {@code group} neighbours share what is stored. */
    private record Heads(int count, int dim, int group) {
        /** @throws IllegalArgumentException where heads do not come out even */
        static Heads of(int count, int dim, int stored) {
            if (stored < 1 || count % stored != 0) {
                throw new IllegalArgumentException("Cannot share %d stored heads among %d".formatted(stored, count));
            }
            return new Heads(count, dim, count / stored);
        }

        int stored() {
            return count / group * dim;
        }

        int[] rows() {
            int[] rows = new int[count * dim];
            for (int i = 0; i < rows.length; i++) {
                rows[i] = i / dim / group * dim + i % dim;
            }
            return rows;
        }
    }

    /** Heads of a width, as many to a key head as the configuration says. */
    private static Heads shared(Blueprint model, int width) {
        return Heads.of(model.heads, width / model.heads, model.config.intOr("num_kv_heads", model.heads));
    }

    private static Heads own(Blueprint model, int width) {
        return new Heads(model.heads, width / model.heads, 1);
    }

    private static @Nullable Activation featureMap(Blueprint model) {
        return model.config.has("feature_map") ? Activation.of(model.config.requireText("feature_map")) : null;
    }

    private static int expanded(Blueprint model, String key, double otherwise) {
        return (int) (model.hidden * model.config.doubleOr(key, otherwise));
    }

    /** The norm of each head, a gate, and the output. */
    private static Readout readout(Blueprint model, Weights weights, String norm, int headDim, int width) {
        return readout(model, weights, norm(model, weights, norm, headDim, model.eps), width);
    }

    /** The norm of all heads together, which the reference leaves its own epsilon, whatever norm_eps says, and the output. */
    private static Readout readoutOfAll(Blueprint model, Weights weights, int width) {
        return readout(model, weights, norm(model, weights, "g_norm", width, 1e-5f), width);
    }

    private static Norm norm(Blueprint model, Weights weights, String name, int width, float eps) {
        return model.config.booleanOr("elementwise_affine", true)
                ? Norm.rms(weights, name, width, eps, 0)
                : Blueprint.even(weights, width, 1, eps);
    }

    private static Readout readout(Blueprint model, Weights weights, Norm norm, int width) {
        return new Readout(norm, false, Activation.SILU, Linear.from(weights, "o_proj", model.hidden, width));
    }

    private static float rootScale(int keyDim) {
        return (float) (1 / Math.sqrt(keyDim));
    }

    private static LinearAttention retention(Blueprint model, Weights weights) {
        int heads = model.heads;
        int keys = expanded(model, "expand_k", 1);
        int values = expanded(model, "expand_v", 2);
        float[] decay = new float[heads];
        for (int h = 0; h < heads; h++) {
            decay[h] = (float) (1 - Math.pow(2, -5.0 - h));
        }
        boolean gates = model.config.booleanOr("use_output_gate", true);
        Rope rope = model.rope(Ropes.of(model.config, keys / heads));
        return new LinearAttention(
                input(model, weights, "q", own(model, keys), false, featureMap(model)),
                input(model, weights, "k", shared(model, keys), false, featureMap(model)),
                input(model, weights, "v", shared(model, values), false, null),
                rope,
                new Decay.Constant(weights.upload(1, heads, decay)),
                null,
                1,
                recurrence(heads, keys, values, Recurrence.Decay.HEAD, Rule.ADD),
                gates ? linear(model, weights, "g_proj", values) : null,
                readout(model, weights, gateNorm(weights), values / heads, values));
    }

    /** The norm's name says whether it is fused with the gate; what is computed is the same. */
    private static String gateNorm(Weights weights) {
        return weights.has("g_norm_swish_gate.weight") ? "g_norm_swish_gate" : "g_norm";
    }

    private static Recurrence recurrence(int heads, int keys, int values, Recurrence.Decay decay, Rule rule) {
        return Recurrence.of(heads, keys / heads, values / heads, decay, rule, rootScale(keys / heads));
    }

    private static LinearAttention gated(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int keys = expanded(model, "expand_k", 0.5);
        int values = expanded(model, "expand_v", 1);
        boolean gates = config.booleanOr("use_output_gate", true);
        boolean convolves = convolves(model, false);
        return new LinearAttention(
                input(model, weights, "q", own(model, keys), convolves, featureMap(model)),
                input(model, weights, "k", shared(model, keys), convolves, featureMap(model)),
                input(model, weights, "v", shared(model, values), convolves, null),
                null,
                new Decay.SigmoidPower(
                        lowRank(model, weights, "gk_proj", GLA_RANK, shared(model, keys)), 1f / GLA_POWER, (float)
                                config.doubleOr("clamp_min", Double.NEGATIVE_INFINITY)),
                null,
                1,
                recurrence(model.heads, keys, values, Recurrence.Decay.KEY, Rule.ADD),
                gates ? linear(model, weights, "g_proj", values) : null,
                readout(model, weights, gateNorm(weights), values / model.heads, values));
    }

    private static LowRank lowRank(Blueprint model, Weights weights, String name, int rank, Heads heads) {
        return new LowRank(linear(model, weights, name + ".0", rank), null, linear(weights, name + ".1", rank, heads));
    }

    private static LinearAttention delta(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int keys = expanded(model, "expand_k", 1);
        int values = expanded(model, "expand_v", 1);
        String map = config.textOr("qk_activation", "silu");
        Activation activation = map.equals("identity") ? null : Activation.of(map);
        boolean convolves = convolves(model, true);
        if (!config.textOr("qk_norm", "l2").equals("l2")) {
            throw new IllegalArgumentException(
                    "Cannot build %s: qk_norm is '%s', expected 'l2'".formatted(config, config.requireText("qk_norm")));
        }
        Norm unit = Blueprint.unit(weights, keys / model.heads, 1e-6);
        boolean gates = config.booleanOr("use_gate", false);
        return new LinearAttention(
                normed(plainInput(model, weights, "q", keys, convolves, activation), unit),
                normed(plainInput(model, weights, "k", keys, convolves, activation), unit),
                input(model, weights, "v", own(model, values), convolves, convolves ? null : Activation.SILU),
                null,
                null,
                config.booleanOr("use_beta", true) ? linear(model, weights, "b_proj", model.heads) : null,
                config.booleanOr("allow_neg_eigval", false) ? 2 : 1,
                recurrence(model.heads, keys, values, Recurrence.Decay.NONE, Rule.DELTA),
                gates ? linear(model, weights, "g_proj", values) : null,
                readout(model, weights, "o_norm", values / model.heads, values));
    }

    private static Input normed(Input input, Norm norm) {
        return new Input(input.projection(), input.conv(), input.activation(), norm);
    }

    /** Gated DeltaNet decays whole heads; Kimi Delta Attention each channel, and its gate is a sigmoid. */
    private static LinearAttention gatedDelta(Blueprint model, Weights weights, boolean kimi) {
        ConfigNode config = model.config;
        int storedHeads = config.requireInt("num_heads");
        int heads = config.intOr("num_v_heads", storedHeads);
        // Decays of each channel leave heads no keys to share.
        int keyHeads = kimi ? heads : storedHeads;
        int keyDim = config.requireInt("head_dim");
        Heads ofKeys = Heads.of(keyHeads, keyDim, storedHeads);
        int valueDim = (int) (keyDim * config.doubleOr("expand_v", kimi ? 1 : 2));
        int width = heads * valueDim;
        float[] rates = Blueprint.rates(weights, heads);
        Decay decay = kimi
                ? channels(model, weights, new Heads(heads, keyDim, 1), valueDim, rates)
                : new Decay.Softplus(
                        linear(model, weights, "a_proj", heads),
                        weights.vector("dt_bias", heads),
                        weights.upload(1, heads, rates));
        Projection gate = kimi
                ? lowRank(model, weights, "g_proj", valueDim, new Heads(heads, valueDim, 1))
                : config.booleanOr("use_gate", true) ? linear(model, weights, "g_proj", width) : null;
        Norm unit = Blueprint.unit(weights, keyDim, 1e-6);
        boolean convolves = convolves(model, true);
        Activation after = convolves ? null : Activation.SILU;
        return new LinearAttention(
                normed(input(model, weights, "q", ofKeys, convolves, after), unit),
                normed(input(model, weights, "k", ofKeys, convolves, after), unit),
                input(model, weights, "v", new Heads(heads, valueDim, 1), convolves, after),
                null,
                decay,
                linear(model, weights, "b_proj", heads),
                config.booleanOr("allow_neg_eigval", false) ? 2 : 1,
                new Recurrence(
                        heads,
                        keyHeads,
                        keyHeads,
                        keyDim,
                        valueDim,
                        kimi ? Recurrence.Decay.KEY : Recurrence.Decay.HEAD,
                        Rule.DELTA,
                        rootScale(keyDim)),
                gate,
                new Readout(
                        model.norm(weights, "o_norm", valueDim),
                        false,
                        kimi ? Activation.SIGMOID : Activation.SILU,
                        Linear.from(weights, "o_proj", model.hidden, width)));
    }

    /** KDA's decay of each channel, whose logarithm {@code lower_bound} may bound. */
    private static Decay channels(Blueprint model, Weights weights, Heads heads, int rank, float[] rates) {
        LowRank f = lowRank(model, weights, "f_proj", rank, heads);
        int width = heads.stored();
        Tensor bias = weights.vector("dt_bias", width);
        float[] each = Blueprint.repeated(rates, heads.dim);
        if (!model.config.has("lower_bound")) {
            return new Decay.Softplus(f, bias, weights.upload(1, width, each));
        }
        for (int i = 0; i < each.length; i++) {
            each[i] = -each[i];
        }
        float low = (float) model.config.requireDouble("lower_bound");
        return new Decay.Sigmoid(f, bias, weights.upload(1, width, each), low);
    }

    private static GatedSlotAttention slots(Blueprint model, Weights weights) {
        ConfigNode config = model.config;
        int heads = model.heads;
        int keys = expanded(model, "expand_k", 1);
        int values = expanded(model, "expand_v", 1);
        int slots = config.intOr("num_slots", keys / heads);
        Activation map = Activation.of(config.textOr("feature_map", "swish"));
        boolean convolves = convolves(model, false);
        return new GatedSlotAttention(
                input(model, weights, "q", own(model, keys), convolves, map),
                input(model, weights, "k", shared(model, keys), convolves, map),
                input(model, weights, "v", shared(model, values), convolves, Activation.SILU),
                new Decay.SigmoidPower(
                        linear(weights, "f_proj", model.hidden, shared(model, heads * slots)),
                        (float) (1 / config.doubleOr("gate_logit_normalizer", 8)),
                        Float.NEGATIVE_INFINITY),
                Recurrence.of(heads, keys / heads, slots, Recurrence.Decay.VALUE, Rule.ADD, 1),
                Recurrence.of(heads, slots, values / heads, Recurrence.Decay.KEY, Rule.ADD, 1),
                readoutOfAll(model, weights, values));
    }

    private static GatedScan scan(Blueprint model, Weights weights, int layer) {
        int width = model.hidden * model.config.intOr("expand_ratio", 1);
        return new GatedScan(
                plainInput(model, weights, "i", width, convolves(model, false), null),
                forget(model, weights, width, layer),
                linear(model, weights, "g_proj", width),
                readout(model, weights, "g_norm", width, width));
    }

    private static LinearAttention expanded(Blueprint model, Weights weights, int layer) {
        ConfigNode config = model.config;
        // The number of heads counts only where their width is not said.
        int keyDim = config.has("expand_ratio") ? config.requireInt("expand_ratio") : model.hidden / model.heads;
        int heads = model.hidden / keyDim;
        int keys = heads * keyDim;
        boolean convolves = convolves(model, false);
        return new LinearAttention(
                plainInput(model, weights, "q", keys, convolves, Activation.SILU),
                null,
                plainInput(model, weights, "i", model.hidden, convolves, null),
                null,
                forget(model, weights, keys, layer),
                null,
                1,
                recurrence(heads, keys, model.hidden, Recurrence.Decay.KEY, Rule.ADD),
                null,
                readoutOfAll(model, weights, model.hidden));
    }

    /** Bounded from below by the softmax over layers of learned bounds, summed over the layers before. */
    private static Decay forget(Blueprint model, Weights weights, int width, int layer) {
        float[] bound = new float[width];
        if (model.config.booleanOr("use_lower_bound", true)) {
            float[] learned = model.weights.values("model.lower_bounds", model.layers, width);
            for (int d = 0; d < width; d++) {
                double sum = 0;
                double before = 0;
                for (int i = 0; i < model.layers; i++) {
                    double share = Math.exp(learned[i * width + d]);
                    sum += share;
                    before += i > 0 && i <= layer ? share : 0;
                }
                bound[d] = (float) (before / sum);
            }
        }
        float[] rest = new float[width];
        for (int d = 0; d < width; d++) {
            rest[d] = 1 - bound[d];
        }
        Tensor low = weights.upload(1, width, bound);
        return new Decay.Bounded(
                plainInput(model, weights, "f", width, convolves(model, false), null),
                low,
                weights.upload(1, width, rest));
    }
}
