package io.nightmill.models;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Recurrence;
import io.nightmill.layers.Linear;
import io.nightmill.layers.Norm;
import io.nightmill.mixers.Mamba;
import io.nightmill.mixers.Mamba2;
import io.nightmill.mixers.Readout;
import io.nightmill.mixers.ShortConv;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Mamba layers under the tensor names that all their families share. */
final class MambaBlocks {
    private MambaBlocks() {}

    /**
     * Sizes of a Mamba-2 layer.
     *
     * @param normGroups groups that the gated norm sees one by one; 0 is no norm
     * @param gatesFirst whether the gate comes before the norm
     * @param dtLow bound on dt
     * @param inputScale factors on the outputs of {@code in_proj}, or null
     * @param activation behind the convolution
     */
    record Sizes(
            int hidden,
            int heads,
            int headDim,
            int groups,
            int stateSize,
            int kernel,
            float eps,
            int normGroups,
            boolean gatesFirst,
            float dtLow,
            float dtHigh,
            float @Nullable [] inputScale,
            Activation activation) {
        int inner() {
            return heads * headDim;
        }

        int convolved() {
            return inner() + 2 * groups * stateSize;
        }

        /** By the keys of Mamba-2's own family. */
        static Sizes pure(Blueprint model, boolean gatesFirst, int normGroups) {
            ConfigNode config = model.config;
            return new Sizes(
                    model.hidden,
                    config.requireInt("num_heads"),
                    config.requireInt("head_dim"),
                    config.intOr("n_groups", 1),
                    config.requireInt("state_size"),
                    config.intOr("conv_kernel", 4),
                    model.eps,
                    normGroups,
                    gatesFirst,
                    low(config),
                    high(config),
                    null,
                    model.activation());
        }

        /** By the keys of Bamba, Granite and Falcon. */
        static Sizes of(Blueprint model, boolean gatesFirst, int normGroups, float @Nullable [] inputScale) {
            ConfigNode config = model.config;
            int heads = config.requireInt("mamba_n_heads");
            int inner = config.intOr("mamba_d_ssm", config.intOr("mamba_expand", 2) * model.hidden);
            return new Sizes(
                    model.hidden,
                    heads,
                    intOrAuto(config, "mamba_d_head", inner / heads),
                    config.intOr("mamba_n_groups", 1),
                    config.requireInt("mamba_d_state"),
                    config.intOr("mamba_d_conv", 4),
                    model.eps,
                    normGroups,
                    gatesFirst,
                    low(config),
                    high(config),
                    inputScale,
                    model.activation());
        }
    }

    /** "auto" is what is left for a head. */
    private static int intOrAuto(ConfigNode config, String key, int otherwise) {
        return config.json().path(key).isTextual() ? otherwise : config.intOr(key, otherwise);
    }

    static float low(ConfigNode config) {
        List<Double> limit = config.doubles("time_step_limit");
        return limit.isEmpty() ? 0 : limit.get(0).floatValue();
    }

    static float high(ConfigNode config) {
        List<Double> limit = config.doubles("time_step_limit");
        return limit.size() < 2 ? Float.POSITIVE_INFINITY : limit.get(1).floatValue();
    }

    static Mamba2 mamba2(Weights weights, Sizes sizes) {
        return mamba2(weights, sizes, 0);
    }

    /** @param levels of a log-linear state; 0 is one state */
    static Mamba2 mamba2(Weights weights, Sizes sizes, int levels) {
        int heads = sizes.heads;
        int inner = sizes.inner();
        Norm norm = null;
        if (sizes.normGroups > 0) {
            // GGUF says the groups in the shape.
            int[] shape = weights.shape("norm.weight");
            boolean grouped = shape.length == 2;
            Tensor weight = grouped
                    ? weights.tensor("norm.weight", 0, shape[0], inner / shape[0])
                    : weights.vector("norm.weight", inner).reshape(inner / sizes.normGroups);
            norm = new Norm.Rms(weight, sizes.eps);
        }
        int keys = sizes.groups * sizes.stateSize;
        int[] widths = levels == 0
                ? new int[] {inner, inner, keys, keys, heads}
                : new int[] {inner, inner, keys, keys, heads, heads * levels};
        Linear input = Linear.from(weights, "in_proj", Arrays.stream(widths).sum(), sizes.hidden);
        Tensor scale = sizes.inputScale == null ? null : weights.upload(1, sizes.inputScale.length, sizes.inputScale);
        List<Linear> inputs = new ArrayList<>();
        List<Tensor> inputScales = new ArrayList<>();
        int first = 0;
        for (int width : widths) {
            inputs.add(input.rows(first, width));
            if (scale != null) {
                inputScales.add(new Tensor(scale.buffer(), scale.offset() + first, 1, width));
            }
            first += width;
        }
        ShortConv conv = ShortConv.from(weights, "conv1d", sizes.convolved(), sizes.kernel, sizes.activation);
        return new Mamba2(
                inputs,
                inputScales,
                List.of(conv.columns(0, inner), conv.columns(inner, keys), conv.columns(inner + keys, keys)),
                weights.vector("dt_bias", heads),
                weights.upload(1, heads, Blueprint.rates(weights, heads)),
                weights.tensor("D", 0, heads, 1),
                levels == 0 ? null : weights.tensor("L", 0, heads, levels).reshape(heads * levels),
                sizes.dtLow,
                sizes.dtHigh,
                new Recurrence(
                        heads,
                        sizes.groups,
                        sizes.groups,
                        sizes.stateSize,
                        sizes.headDim,
                        Recurrence.Decay.HEAD,
                        Recurrence.Rule.ADD,
                        1),
                new Readout(
                        norm,
                        sizes.gatesFirst,
                        Activation.SILU,
                        Linear.from(weights, "out_proj", sizes.hidden, inner)));
    }

    /** @param norms on dt, B and C, or null for none */
    static Mamba mamba(
            Weights weights,
            Blueprint model,
            int inner,
            int stateSize,
            int rank,
            int kernel,
            List<@Nullable Norm> norms) {
        int hidden = model.hidden;
        return new Mamba(
                Linear.from(weights, "in_proj", 2 * inner, hidden),
                ShortConv.from(weights, "conv1d", inner, kernel, model.activation()),
                Linear.from(weights, "x_proj", rank + 2 * stateSize, inner),
                norms.get(0),
                norms.get(1),
                norms.get(2),
                Linear.from(weights, "dt_proj", inner, rank),
                weights.upload(stateSize, inner, byState(weights, "A_log", inner, stateSize)),
                weights.vector("D", inner),
                Linear.from(weights, "out_proj", hidden, inner));
    }

    /** Rates {@code [inner, stateSize]}, turned. */
    static float[] byState(Weights weights, String name, int inner, int stateSize) {
        float[] byChannel = Blueprint.rates(weights, name, inner, stateSize);
        float[] rates = new float[byChannel.length];
        for (int i = 0; i < rates.length; i++) {
            rates[i % stateSize * inner + i / stateSize] = byChannel[i];
        }
        return rates;
    }

    /** dt, B and C as they are. */
    static List<@Nullable Norm> unnormed() {
        return Arrays.asList(null, null, null);
    }

    /** "auto" is a sixteenth of the hidden size. */
    static int rank(ConfigNode config, String key, int hidden) {
        boolean auto = !config.has(key) || config.json().path(key).isTextual();
        return auto ? (hidden + 15) / 16 : config.requireInt(key);
    }
}
