package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Recurrence.Rule;
import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.layers.Projection;
import io.nightmill.layers.Projection.LowRank;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.Rwkv6TimeMix;
import io.nightmill.mixers.Rwkv6TimeMix.Mixed;
import io.nightmill.mixers.Rwkv7TimeMix;
import io.nightmill.mixers.RwkvChannelMix;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** RWKV-6 and RWKV-7 under the tensor names of their author's checkpoints (github.com/BlinkDL/RWKV-LM). */
final class RwkvNative implements ModelFamily {
    private static final float HEAD_EPS = 64e-5f;

    @Override
    public Set<String> modelTypes() {
        return Set.of("rwkv6-native-pth-names", "rwkv7-native-pth-names");
    }

    @Override
    public String layers(String modelType) {
        return "RWKV time and channel mixing (BlinkDL names)";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        int hidden = config.requireInt("n_embd");
        int vocabulary = config.requireInt("vocab_size");
        boolean seventh = config.requireText("model_type").startsWith("rwkv7");
        float eps = (float) config.doubleOr("layer_norm_epsilon", 1e-5);
        int rescale = config.intOr("rescale_every_n_layers", 0);
        List<Branch> branches = new ArrayList<>();
        for (int i = 0; i < config.requireInt("n_layer"); i++) {
            Weights block = weights.in("blocks." + i);
            SequenceMixer mixer = seventh
                    ? seventh(block.in("att"), hidden, config.intOr("head_size", 64), i)
                    : sixth(block.in("att"), hidden, config.intOr("head_size", 64));
            branches.add(Branch.of(Rwkv.norm(block, "ln1", hidden, eps), mixer));
            // Where a GGUF file has halved the last weights of its layers, the stream is halved every so many layers.
            float keep = rescale > 0 && (i + 1) % rescale == 0 ? 0.5f : 1;
            Norm norm = Rwkv.norm(block, "ln2", hidden, eps);
            branches.add(new Branch(norm, channels(block.in("ffn"), hidden, seventh), null, keep, keep, false));
        }
        return new Decoder(
                weights.matrix("emb.weight", vocabulary, hidden),
                1,
                Rwkv.norm(weights, "blocks.0.ln0", hidden, eps),
                branches,
                Set.of(),
                Rwkv.norm(weights, "ln_out", hidden, eps),
                Linear.from(weights, "head", vocabulary, hidden),
                1,
                0);
    }

    /** A weight stored {@code [in, out]}; GGUF has it {@code [out, in]} and calls it a weight. */
    private static Linear transposed(Weights weights, String name, @Nullable Tensor bias) {
        if (weights.has(name + ".weight")) {
            int[] outIn = weights.shape(name + ".weight");
            return new Linear(weights.matrix(name + ".weight", outIn[0], outIn[1]), bias);
        }
        int[] shape = weights.shape(name);
        return new Linear(weights.stackTransposed(name, 1, shape[1], shape[0]).get(0), bias);
    }

    private static LowRank lowRank(Weights weights, String prefix, @Nullable Activation between, int hidden) {
        Tensor bias = weights.has(prefix + "0") ? weights.vector(prefix + "0", hidden) : null;
        return new LowRank(transposed(weights, prefix + "1", null), between, transposed(weights, prefix + "2", bias));
    }

    private static Rwkv6TimeMix sixth(Weights weights, int hidden, int headDim) {
        int heads = hidden / headDim;
        Linear down = transposed(weights, "time_maa_w1", null);
        int rank = down.out() / 5;
        List<Matrix> ups = weights.has("time_maa_w2.weight")
                ? weights.stack("time_maa_w2.weight", 5, hidden, rank)
                : weights.stackTransposed("time_maa_w2", 5, hidden, rank);
        LowRank decay = new LowRank(
                transposed(weights, "time_decay_w1", null),
                Activation.TANH,
                transposed(weights, "time_decay_w2", weights.vector("time_decay", hidden)));
        return new Rwkv6TimeMix(
                weights.vector("time_maa_x", hidden),
                down,
                mixed(weights, ups, 3, "r", square(weights, "receptance", hidden)),
                mixed(weights, ups, 0, "w", decay),
                mixed(weights, ups, 1, "k", square(weights, "key", hidden)),
                mixed(weights, ups, 2, "v", square(weights, "value", hidden)),
                mixed(weights, ups, 4, "g", square(weights, "gate", hidden)),
                weights.tensor("time_faaaa", 0, heads, headDim).reshape(hidden),
                Recurrence.of(heads, headDim, headDim, Recurrence.Decay.KEY, Rule.ADD, 1),
                new Readout(
                        Rwkv.headNorm(weights, "ln_x", heads, hidden, HEAD_EPS),
                        false,
                        Activation.SILU,
                        square(weights, "output", hidden)));
    }

    private static Linear square(Weights weights, String name, int hidden) {
        return Linear.from(weights, name, hidden, hidden);
    }

    /** How much of the last token one of the inputs takes; GGUF may have all of them, in their order, in one tensor. */
    private static Tensor amount(Weights weights, String prefix, String order, String name, int hidden) {
        return weights.has(prefix + order)
                ? weights.tensor(prefix + order, 0, order.length(), hidden).rows(order.indexOf(name), 1)
                : weights.vector(prefix + name, hidden);
    }

    private static Mixed mixed(Weights weights, List<Matrix> ups, int part, String name, Projection projection) {
        Tensor learned =
                amount(weights, "time_maa_", "wkvrg", name, ups.get(part).out());
        return new Mixed(part, new Linear(ups.get(part), learned), projection);
    }

    private static Rwkv7TimeMix seventh(Weights weights, int hidden, int headDim, int layer) {
        int heads = hidden / headDim;
        Norm unit = Blueprint.unit(weights, headDim, 1e-24);
        if (layer == 0) {
            weights.ignore("v0");
            weights.ignore("v1*");
            weights.ignore("v2*");
        }
        return new Rwkv7TimeMix(
                new Rwkv7TimeMix.Mixes(
                        amount(weights, "x_", "rwkvag", "r", hidden),
                        amount(weights, "x_", "rwkvag", "w", hidden),
                        amount(weights, "x_", "rwkvag", "k", hidden),
                        amount(weights, "x_", "rwkvag", "v", hidden),
                        amount(weights, "x_", "rwkvag", "a", hidden),
                        amount(weights, "x_", "rwkvag", "g", hidden)),
                square(weights, "receptance", hidden),
                square(weights, "key", hidden),
                square(weights, "value", hidden),
                lowRank(weights, "w", Activation.TANH, hidden),
                lowRank(weights, "a", null, hidden),
                layer == 0 ? null : lowRank(weights, "v", null, hidden),
                lowRank(weights, "g", Activation.SIGMOID, hidden),
                weights.vector("k_k", hidden),
                weights.vector("k_a", hidden),
                unit,
                // GGUF has it flat.
                weights.shape("r_k").length == 1
                        ? weights.vector("r_k", hidden)
                        : weights.tensor("r_k", 0, heads, headDim).reshape(hidden),
                Rwkv.headNorm(weights, "ln_x", heads, hidden, HEAD_EPS),
                Recurrence.of(heads, headDim, headDim, Recurrence.Decay.KEY, Rule.LOW_RANK, 1),
                square(weights, "output", hidden));
    }

    private static RwkvChannelMix channels(Weights weights, int hidden, boolean seventh) {
        int inner = weights.shape("key.weight")[0];
        return new RwkvChannelMix(
                weights.vector(seventh ? "x_k" : "time_maa_k", hidden),
                Linear.from(weights, "key", inner, hidden),
                Activation.RELU2,
                Linear.from(weights, "value", hidden, inner),
                seventh ? null : weights.vector("time_maa_r", hidden),
                seventh ? null : square(weights, "receptance", hidden));
    }
}
