package io.nightmill.models;

import io.nightmill.layers.Rope;
import io.nightmill.weights.ConfigNode;
import java.util.List;
import java.util.function.IntFunction;

/**
 * Rotary tables from a configuration: plain, linear, dynamic NTK, YaRN (Peng et al. 2023, arXiv 2309.00071), Llama 3 and
 * LongRoPE (Ding et al. 2024, arXiv 2402.13753), in the forms of Hugging Face's {@code modeling_rope_utils}.
 */
final class Ropes {
    private Ropes() {}

    /** The model's one rope: {@code rope_theta} and {@code rope_scaling}, or {@code rope_parameters}. */
    static Rope of(ConfigNode config, int rotary) {
        ConfigNode parameters = config.at("rope_parameters");
        ConfigNode scaling = parameters.isPresent() ? parameters : config.at("rope_scaling");
        double theta = parameters.has("rope_theta")
                ? parameters.requireDouble("rope_theta")
                : config.doubleOr("rope_theta", 10000);
        return of(config, rotary, theta, scaling);
    }

    static Rope of(ConfigNode config, int rotary, double theta, ConfigNode scaling) {
        boolean interleaved = config.booleanOr("rope_interleaved", false);
        String type = scaling.textOr("rope_type", scaling.textOr("type", "default"));
        int positions = config.intOr("max_position_embeddings", 2048);
        List<Double> factors = config.doubles("rope_frequency_factors");
        float[] plain = divided(plain(theta, rotary), factors);
        // The context before it was stretched: Phi-3 says it beside its rope, which counts before what the rope says.
        String key = "original_max_position_embeddings";
        double original = config.doubleOr(key, scaling.doubleOr(key, positions));
        double factor = scaling.doubleOr("factor", positions / original);
        return switch (type) {
            case "default" -> Rope.fixed(rotary, interleaved, plain, 1);
            case "linear" -> Rope.fixed(rotary, interleaved, scaled(plain, 1 / scaling.requireDouble("factor")), 1);
            case "llama3" -> Rope.fixed(rotary, interleaved, llama3(plain, original, scaling), 1);
            case "yarn" -> yarn(rotary, interleaved, theta, plain, original, factor, scaling);
            case "dynamic" -> dynamic(rotary, interleaved, theta, plain, positions, scaling);
            case "longrope", "su" -> longRope(
                    rotary,
                    interleaved,
                    plain,
                    original,
                    factor,
                    scaling,
                    config.textOr("model_type", "").equals("phimoe"));
            default -> throw new IllegalArgumentException(
                    "Cannot use rope type '%s' of %s, known are default, linear, dynamic, yarn, llama3, longrope"
                            .formatted(type, config));
        };
    }

    /**
     * Tokens of context, by vLLM's rule: a rope that stretches positions stretches the context. Models without attention
     * name no limit, and have none but this.
     */
    static int contextLength(ConfigNode config) {
        int unnamed = config.has("num_attention_heads") ? 2048 : 1 << 20;
        int positions = config.intOr("max_position_embeddings", config.intOr("model_max_length", unnamed));
        ConfigNode parameters = config.at("rope_parameters");
        ConfigNode scaling = parameters.isPresent() ? parameters : config.at("rope_scaling");
        if (config.textOr("model_type", "").startsWith("gemma3")) {
            return positions;
        }
        return switch (scaling.textOr("rope_type", scaling.textOr("type", "default"))) {
            case "linear", "dynamic" -> (int) (positions * scaling.doubleOr("factor", 1));
            case "yarn" -> Math.max(positions, (int)
                    (scaling.doubleOr("original_max_position_embeddings", positions) * scaling.doubleOr("factor", 1)));
            default -> positions;
        };
    }

    private static float[] plain(double theta, int rotary) {
        float[] inverse = new float[rotary / 2];
        for (int i = 0; i < inverse.length; i++) {
            inverse[i] = (float) (1 / Math.pow(theta, 2.0 * i / rotary));
        }
        return inverse;
    }

    private static float[] scaled(float[] inverse, double factor) {
        float[] result = new float[inverse.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = (float) (inverse[i] * factor);
        }
        return result;
    }

    private static float[] divided(float[] inverse, List<Double> factors) {
        if (factors.isEmpty()) {
            return inverse;
        }
        if (factors.size() != inverse.length) {
            throw new IllegalArgumentException(
                    "Cannot scale %d rotary frequencies by %d factors".formatted(inverse.length, factors.size()));
        }
        float[] result = new float[inverse.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = (float) (inverse[i] / factors.get(i));
        }
        return result;
    }

    private static float[] llama3(float[] plain, double original, ConfigNode scaling) {
        double factor = scaling.requireDouble("factor");
        double low = scaling.requireDouble("low_freq_factor");
        double high = scaling.requireDouble("high_freq_factor");
        float[] result = new float[plain.length];
        for (int i = 0; i < plain.length; i++) {
            double wavelength = 2 * Math.PI / plain[i];
            double smooth = (original / wavelength - low) / (high - low);
            if (wavelength < original / high) {
                result[i] = plain[i];
            } else if (wavelength > original / low) {
                result[i] = (float) (plain[i] / factor);
            } else {
                result[i] = (float) ((1 - smooth) * plain[i] / factor + smooth * plain[i]);
            }
        }
        return result;
    }

    /** YaRN's attention temperature. */
    static double mscale(double factor, double mscale) {
        return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
    }

    private static Rope yarn(
            int rotary,
            boolean interleaved,
            double theta,
            float[] plain,
            double original,
            double factor,
            ConfigNode scaling) {
        double low = correction(scaling.doubleOr("beta_fast", 32), rotary, theta, original);
        double high = correction(scaling.doubleOr("beta_slow", 1), rotary, theta, original);
        if (scaling.booleanOr("truncate", true)) {
            low = Math.floor(low);
            high = Math.ceil(high);
        }
        low = Math.max(low, 0);
        high = Math.min(high, rotary - 1);
        if (low == high) {
            high += 0.001;
        }
        float[] inverse = new float[plain.length];
        for (int i = 0; i < inverse.length; i++) {
            double ramp = Math.max(0, Math.min(1, (i - low) / (high - low)));
            inverse[i] = (float) (plain[i] / factor * ramp + plain[i] * (1 - ramp));
        }
        double scale;
        double all = scaling.doubleOr("mscale_all_dim", 0);
        if (scaling.has("attention_factor")) {
            scale = scaling.requireDouble("attention_factor");
        } else if (scaling.doubleOr("mscale", 0) != 0 && all != 0) {
            scale = mscale(factor, scaling.requireDouble("mscale")) / mscale(factor, all);
        } else {
            scale = mscale(factor, 1);
        }
        return Rope.fixed(rotary, interleaved, inverse, (float) scale);
    }

    /** The dimension that turns so many times within the original length. */
    private static double correction(double turns, int rotary, double theta, double original) {
        return rotary * Math.log(original / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
    }

    private static Rope dynamic(
            int rotary, boolean interleaved, double theta, float[] plain, int positions, ConfigNode scaling) {
        double factor = scaling.requireDouble("factor");
        IntFunction<float[]> frequencies = length -> {
            if (length <= positions) {
                return plain;
            }
            double stretch = factor * length / positions - (factor - 1);
            return plain(theta * Math.pow(stretch, rotary / (rotary - 2.0)), rotary);
        };
        return new Rope(rotary, interleaved, frequencies, length -> length <= positions ? 0 : length, regime -> 1, 0);
    }

    private static Rope longRope(
            int rotary,
            boolean interleaved,
            float[] plain,
            double original,
            double factor,
            ConfigNode scaling,
            boolean phiMoe) {
        float[] near = divided(plain, scaling.doubles("short_factor"));
        float[] far = divided(plain, scaling.doubles("long_factor"));
        double attention = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
        double scale = scaling.doubleOr("attention_factor", attention);
        // Phi-3.5-MoE gives the scales itself, and its reference keeps the short factors at every length.
        double nearScale = phiMoe ? scaling.requireDouble("short_mscale") : scale;
        double farScale = phiMoe ? scaling.requireDouble("long_mscale") : scale;
        return new Rope(
                rotary,
                interleaved,
                regime -> regime == 0 || phiMoe ? near : far,
                length -> length > original ? 1 : 0,
                regime -> regime == 0 ? nearScale : farScale,
                0);
    }
}
