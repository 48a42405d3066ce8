package io.nightmill.models;

import io.nightmill.kernels.HostBackend;
import io.nightmill.tensor.Format;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.SyntheticWeights;
import io.nightmill.weights.Weights;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.regex.Pattern;

/**
 * Networks as their papers define them, in float64 and over whole sequences: every token sums over all before it, with the
 * product of the decays between. Nothing here shares a line with what it tests.
 */
final class PaperModels {
    private final ConfigNode config;
    private final Weights weights;
    private final int hidden;
    private final int layers;

    PaperModels(ConfigNode config, Pattern optional) {
        this.config = config;
        this.weights = new SyntheticWeights(new HostBackend(1), Format.F32, optional);
        this.hidden = config.requireInt("hidden_size");
        this.layers = config.requireInt("num_hidden_layers");
    }

    private interface Map1 {
        double of(double x);
    }

    /** How much token {@code i} takes from token {@code j <= i} of a head. */
    private interface Pairs {
        double of(int i, int j, int head);
    }

    private static double sigmoid(double x) {
        return 1 / (1 + Math.exp(-x));
    }

    private static double silu(double x) {
        return x * sigmoid(x);
    }

    private static double softplus(double x) {
        return Math.log1p(Math.exp(x));
    }

    private double[][] matrix(String name, int out, int in) {
        var data = weights.matrix(name, out, in)
                .panels()
                .get(0)
                .order(ByteOrder.LITTLE_ENDIAN)
                .asFloatBuffer();
        double[][] w = new double[out][in];
        for (int i = 0; i < out * in; i++) {
            w[i / in][i % in] = data.get(i);
        }
        return w;
    }

    private double[] vector(String name, int... shape) {
        float[] values = weights.values(name, shape);
        double[] v = new double[values.length];
        for (int i = 0; i < v.length; i++) {
            v[i] = values[i];
        }
        return v;
    }

    private double[][] linear(double[][] x, String name, int out) {
        double[][] w = matrix(name + ".weight", out, x[0].length);
        double[] bias = weights.has(name + ".bias") ? vector(name + ".bias", out) : new double[out];
        double[][] y = new double[x.length][out];
        for (int t = 0; t < x.length; t++) {
            for (int o = 0; o < out; o++) {
                y[t][o] = bias[o];
                for (int d = 0; d < w[o].length; d++) {
                    y[t][o] += w[o][d] * x[t][d];
                }
            }
        }
        return y;
    }

    private static double[][] map(double[][] x, Map1 f) {
        double[][] y = new double[x.length][x[0].length];
        for (int t = 0; t < x.length; t++) {
            for (int d = 0; d < y[t].length; d++) {
                y[t][d] = f.of(x[t][d]);
            }
        }
        return y;
    }

    private static double[][] times(double[][] x, double[][] y) {
        double[][] z = new double[x.length][x[0].length];
        for (int t = 0; t < x.length; t++) {
            for (int d = 0; d < z[t].length; d++) {
                z[t][d] = x[t][d] * y[t][d];
            }
        }
        return z;
    }

    private static void add(double[][] x, double[][] y) {
        for (int t = 0; t < x.length; t++) {
            for (int d = 0; d < x[t].length; d++) {
                x[t][d] += y[t][d];
            }
        }
    }

    private static double[][] columns(double[][] x, int first, int count) {
        double[][] y = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            y[t] = Arrays.copyOfRange(x[t], first, first + count);
        }
        return y;
    }

    /** Groups of {@code width} values divided by their root mean square; weights repeat. */
    private static double[][] rms(double[][] x, double[] weight, int width, double eps) {
        double[][] y = new double[x.length][x[0].length];
        for (int t = 0; t < x.length; t++) {
            for (int d = 0; d < y[t].length; d++) {
                double squares = 0;
                for (int e = d / width * width; e < d / width * width + width; e++) {
                    squares += x[t][e] * x[t][e];
                }
                y[t][d] = x[t][d] / Math.sqrt(squares / width + eps) * weight[d % weight.length];
            }
        }
        return y;
    }

    private double[][] rms(double[][] x, String name, double offset, double eps) {
        double[] weight = vector(name + ".weight", x[0].length);
        for (int d = 0; d < weight.length; d++) {
            weight[d] += offset;
        }
        return rms(x, weight, weight.length, eps);
    }

    private double[][] conv(double[][] x, String name, int kernel) {
        int width = x[0].length;
        double[] w = vector(name + ".weight", width, kernel);
        double[] bias = weights.has(name + ".bias") ? vector(name + ".bias", width) : new double[width];
        double[][] y = new double[x.length][width];
        for (int t = 0; t < x.length; t++) {
            for (int d = 0; d < width; d++) {
                y[t][d] = bias[d];
                for (int j = 0; j < kernel; j++) {
                    int from = t - kernel + 1 + j;
                    y[t][d] += from < 0 ? 0 : w[d * kernel + j] * x[from][d];
                }
                y[t][d] = silu(y[t][d]);
            }
        }
        return y;
    }

    private double[][] embedded(int[] tokens, String name) {
        double[][] table = matrix(name + ".weight", config.requireInt("vocab_size"), hidden);
        double[][] x = new double[tokens.length][];
        for (int t = 0; t < tokens.length; t++) {
            x[t] = table[tokens[t]].clone();
        }
        return x;
    }

    /** Tied: the head is the embedding. */
    private double[][] head(double[][] x, String embedding) {
        return linear(x, embedding, config.requireInt("vocab_size"));
    }

    private double[][] mlp(double[][] x, String gate, String up, String down, int inner) {
        return linear(times(map(linear(x, gate, inner), PaperModels::silu), linear(x, up, inner)), down, hidden);
    }

    /** {@code out_i = sum_j pairs(i, j) (q_i . k_j) v_j}, where groups of heads share queries and keys. */
    private static double[][] attend(double[][] q, double[][] k, double[][] v, int heads, int shared, Pairs pairs) {
        int keyDim = q[0].length / shared;
        int valueDim = v[0].length / heads;
        double[][] out = new double[q.length][v[0].length];
        for (int h = 0; h < heads; h++) {
            int at = h / (heads / shared) * keyDim;
            for (int i = 0; i < q.length; i++) {
                for (int j = 0; j <= i; j++) {
                    double dot = 0;
                    for (int d = 0; d < keyDim; d++) {
                        dot += q[i][at + d] * k[j][at + d];
                    }
                    double weight = dot * pairs.of(i, j, h);
                    for (int d = 0; d < valueDim; d++) {
                        out[i][h * valueDim + d] += weight * v[j][h * valueDim + d];
                    }
                }
            }
        }
        return out;
    }

    /** {@code decay[j + 1] ... decay[i]} of a head. */
    private static double between(double[][] decay, int i, int j, int head) {
        double product = 1;
        for (int t = j + 1; t <= i; t++) {
            product *= decay[t][head];
        }
        return product;
    }

    /** The parallel form of the paper's appendix: all gates of a pair in one exponent. */
    double[][] xlstm(int[] tokens) {
        int heads = config.requireInt("num_heads");
        int keys = hidden / 2;
        int inner = 88;
        double[][] x = embedded(tokens, "backbone.embeddings");
        for (int layer = 0; layer < layers; layer++) {
            String scope = "backbone.blocks." + layer + ".";
            double[][] in = rms(x, scope + "norm_mlstm", 0, 1e-6);
            double[][] q = linear(in, scope + "mlstm_layer.q", keys);
            double[][] k = linear(in, scope + "mlstm_layer.k", keys);
            double[][] v = linear(in, scope + "mlstm_layer.v", hidden);
            Map1 cap = gate -> 15 * Math.tanh(gate / 15);
            double[][] write = map(linear(in, scope + "mlstm_layer.igate_preact", heads), cap);
            double[][] forget = map(linear(in, scope + "mlstm_layer.fgate_preact", heads), cap);
            double root = Math.sqrt((double) keys / heads);
            Pairs pairs = (i, j, h) -> {
                double exponent = write[j][h];
                for (int t = j + 1; t <= i; t++) {
                    exponent -= softplus(-forget[t][h]);
                }
                return Math.exp(exponent) / root;
            };
            double[][] ones = map(v, value -> 1);
            double[][] read = attend(q, k, v, heads, heads, pairs);
            double[][] norm = attend(q, k, ones, heads, heads, pairs);
            int dim = hidden / heads;
            double[] weight = vector(scope + "mlstm_layer.multihead_norm.weight", hidden);
            double[][] y = new double[tokens.length][hidden];
            for (int t = 0; t < tokens.length; t++) {
                for (int h = 0; h < heads; h++) {
                    double mean = 0;
                    for (int d = h * dim; d < (h + 1) * dim; d++) {
                        y[t][d] = read[t][d] / Math.max(Math.abs(norm[t][d]), 1);
                        mean += y[t][d] / dim;
                    }
                    double variance = 0;
                    for (int d = h * dim; d < (h + 1) * dim; d++) {
                        variance += (y[t][d] - mean) * (y[t][d] - mean) / dim;
                    }
                    for (int d = h * dim; d < (h + 1) * dim; d++) {
                        y[t][d] = (y[t][d] - mean) / Math.sqrt(variance + 1e-6) * weight[d];
                    }
                }
            }
            y = times(y, map(linear(in, scope + "mlstm_layer.ogate_preact", hidden), PaperModels::sigmoid));
            add(x, linear(y, scope + "mlstm_layer.out_proj", hidden));
            double[][] normed = rms(x, scope + "norm_ffn", 0, 1e-6);
            String ffn = scope + "ffn.proj_";
            add(x, mlp(normed, ffn + "up_gate", ffn + "up", ffn + "down", inner));
        }
        return map(
                head(rms(x, "backbone.out_norm", 0, 1e-6), "backbone.embeddings"), logit -> 30 * Math.tanh(logit / 30));
    }

    /** Mamba-2's state space as attention with decays, of one group. */
    private double[][] space(double[][] q, double[][] k, double[][] v, double[][] dt, double[] bias, String scope) {
        int heads = bias.length;
        double[] rate = vector(scope + "A_log", heads);
        double[] skip = vector(scope + "D", heads, 1);
        double[][] step = new double[q.length][heads];
        double[][] decay = new double[q.length][heads];
        for (int t = 0; t < q.length; t++) {
            for (int h = 0; h < heads; h++) {
                step[t][h] = softplus(dt[t][h] + bias[h]);
                decay[t][h] = Math.exp(-Math.exp(rate[h]) * step[t][h]);
            }
        }
        Pairs pairs = (i, j, h) -> between(decay, i, j, h) * step[j][h];
        double[][] y = attend(q, k, v, heads, 1, pairs);
        for (int t = 0; t < y.length; t++) {
            for (int d = 0; d < y[t].length; d++) {
                y[t][d] += skip[d / (y[t].length / heads)] * v[t][d];
            }
        }
        return y;
    }

    double[][] plamo2(int[] tokens) {
        int inner = config.requireInt("intermediate_size");
        double[][] x = embedded(tokens, "model.embed_tokens");
        for (int layer = 0; layer < layers; layer++) {
            String scope = "model.layers.layers." + layer + ".";
            double[][] in = rms(x, scope + "pre_mixer_norm", 1, 1e-6);
            double[][] y = layer % 2 == 1
                    ? rotated(
                            in,
                            scope + "mixer.",
                            config.ints("full_attention_idx").contains(layer) ? 1000 : 9)
                    : headwise(in, scope + "mixer.");
            add(x, rms(y, scope + "post_mixer_norm", 0.2, 1e-6));
            double[][] both = linear(rms(x, scope + "pre_mlp_norm", 1, 1e-6), scope + "mlp.gate_up_proj", 2 * inner);
            double[][] h = times(map(columns(both, 0, inner), PaperModels::silu), columns(both, inner, inner));
            add(x, rms(linear(h, scope + "mlp.down_proj", hidden), scope + "post_mlp_norm", Math.pow(5, -1.5), 1e-6));
        }
        return head(rms(x, "model.norm", 1, 1e-6), "model.embed_tokens");
    }

    private double[][] headwise(double[][] in, String scope) {
        int heads = config.requireInt("mamba_num_heads");
        int dim = config.requireInt("hidden_size_per_head");
        int states = config.requireInt("mamba_d_state");
        double[][] both = linear(in, scope + "in_proj", 2 * heads * dim);
        double[][] gate = new double[in.length][heads * dim];
        double[][] value = new double[in.length][heads * dim];
        for (int t = 0; t < in.length; t++) {
            for (int d = 0; d < heads * dim; d++) {
                gate[t][d] = both[t][d / dim * 2 * dim + d % dim];
                value[t][d] = both[t][d / dim * 2 * dim + dim + d % dim];
            }
        }
        double[][] v = conv(value, scope + "conv1d", 4);
        double[][] chosen = linear(v, scope + "bcdt_proj", 2 * states + 64);
        double[][] b = rms(columns(chosen, 0, states), vector(scope + "B_norm_weight", states), states, 1e-6);
        double[][] c = rms(columns(chosen, states, states), vector(scope + "C_norm_weight", states), states, 1e-6);
        double[][] low = rms(columns(chosen, 2 * states, 64), vector(scope + "dt_norm_weight", 64), 64, 1e-6);
        double[][] w = matrix(scope + "dt_proj.weight", heads, 64);
        double[][] dt = new double[in.length][heads];
        for (int t = 0; t < in.length; t++) {
            for (int h = 0; h < heads; h++) {
                for (int d = 0; d < 64; d++) {
                    dt[t][h] += w[h][d] * low[t][d];
                }
            }
        }
        double[][] y = space(c, b, v, dt, vector(scope + "dt_bias", heads), scope);
        return linear(times(y, map(gate, PaperModels::silu)), scope + "out_proj", hidden);
    }

    /** Meta tokens are rows before the prompt; the logits are the prompt's. */
    double[][] hymba(int[] tokens) {
        int meta = config.requireInt("num_memory_tokens");
        int inner = 2 * hidden;
        double[][] x = new double[meta + tokens.length][];
        System.arraycopy(matrix("model.memory_tokens", meta, hidden), 0, x, 0, meta);
        System.arraycopy(embedded(tokens, "model.embed_tokens"), 0, x, meta, tokens.length);
        double[][] k = new double[0][];
        double[][] v = new double[0][];
        for (int layer = 0; layer < layers; layer++) {
            String scope = "model.layers." + layer + ".mamba.";
            double[][] in = rms(x, "model.layers." + layer + ".input_layernorm", 0, 1e-6);
            boolean reuses = layer == 2;
            int keys = reuses ? 0 : 12;
            int values = reuses ? 0 : 24;
            double[][] all = linear(in, scope + "in_proj", hidden + keys + values + 2 * inner);
            double[][] q = rotate(columns(all, 0, hidden), 6);
            if (!reuses) {
                k = rotate(columns(all, hidden, keys), 6);
                v = columns(all, hidden + keys, values);
            }
            int window = layer == 0 ? 1000 : 8;
            double[][] attended = softmax(q, k, v, 4, 2, (i, j) -> j < meta || i - j < window);
            double[][] scanned = scan(
                    columns(all, hidden + keys + values, inner),
                    columns(all, hidden + keys + values + inner, inner),
                    scope);
            double[][] y = map(rms(attended, scope + "pre_avg_layernorm1", 0, 1e-6), value -> value / 2);
            add(y, map(rms(scanned, scope + "pre_avg_layernorm2", 0, 1e-6), value -> value / 2));
            add(x, linear(y, scope + "out_proj", hidden));
            double[][] normed = rms(x, "model.layers." + layer + ".pre_moe_layernorm", 0, 1e-6);
            String mlp = "model.layers." + layer + ".moe.experts.0.";
            add(x, mlp(normed, mlp + "gate_proj", mlp + "up_proj", mlp + "down_proj", 40));
        }
        double[][] logits = head(rms(x, "model.final_layernorm", 0, 1e-6), "model.embed_tokens");
        return Arrays.copyOfRange(logits, meta, logits.length);
    }

    /** Mamba's selective scan as a sum over the past. */
    private double[][] scan(double[][] value, double[][] gate, String scope) {
        int width = value[0].length;
        double[][] v = conv(value, scope + "conv1d", 4);
        double[][] chosen = linear(v, scope + "x_proj.0", 5 + 2 * 6);
        double[][] low = rms(columns(chosen, 0, 5), scope + "dt_layernorm", 0, 1e-6);
        double[][] b = rms(columns(chosen, 5, 6), scope + "B_layernorm", 0, 1e-6);
        double[][] c = rms(columns(chosen, 11, 6), scope + "C_layernorm", 0, 1e-6);
        double[][] dt = map(linear(low, scope + "dt_proj.0", width), PaperModels::softplus);
        double[] logs = vector(scope + "A_log.0", width, 6);
        double[] skip = vector(scope + "D.0", width);
        double[][] y = new double[v.length][width];
        for (int d = 0; d < width; d++) {
            for (int i = 0; i < v.length; i++) {
                for (int n = 0; n < 6; n++) {
                    double passed = 0;
                    for (int j = i; j >= 0; j--) {
                        y[i][d] +=
                                c[i][n] * Math.exp(-Math.exp(logs[d * 6 + n]) * passed) * dt[j][d] * b[j][n] * v[j][d];
                        passed += dt[j][d];
                    }
                }
                y[i][d] = (y[i][d] + skip[d] * v[i][d]) * silu(gate[i][d]);
            }
        }
        return y;
    }

    private interface Sees {
        boolean of(int i, int j);
    }

    private static double[][] softmax(double[][] q, double[][] k, double[][] v, int heads, int kvHeads, Sees sees) {
        int dim = q[0].length / heads;
        int valueDim = v[0].length / kvHeads;
        double[][] y = new double[q.length][heads * valueDim];
        for (int h = 0; h < heads; h++) {
            int shared = h / (heads / kvHeads);
            for (int i = 0; i < q.length; i++) {
                double sum = 0;
                for (int j = 0; j <= i; j++) {
                    double dot = 0;
                    for (int d = 0; d < dim; d++) {
                        dot += q[i][h * dim + d] * k[j][shared * dim + d];
                    }
                    double weight = sees.of(i, j) ? Math.exp(dot / Math.sqrt(dim)) : 0;
                    sum += weight;
                    for (int d = 0; d < valueDim; d++) {
                        y[i][h * valueDim + d] += weight * v[j][shared * valueDim + d];
                    }
                }
                for (int d = 0; d < valueDim; d++) {
                    y[i][h * valueDim + d] /= sum;
                }
            }
        }
        return y;
    }

    private double[][] rotated(double[][] in, String scope, int window) {
        int heads = config.requireInt("num_attention_heads");
        int kvHeads = config.requireInt("num_key_value_heads");
        int dim = config.requireInt("hidden_size_per_head");
        double[][] qkv = linear(in, scope + "qkv_proj", (heads + 2 * kvHeads) * dim);
        double[][] q = columns(qkv, 0, heads * dim);
        double[][] k = columns(qkv, heads * dim, kvHeads * dim);
        double[][] v = columns(qkv, (heads + kvHeads) * dim, kvHeads * dim);
        q = rotate(rms(q, vector(scope + "q_weight", heads, dim), dim, 1e-6), dim);
        k = rotate(rms(k, vector(scope + "k_weight", kvHeads, dim), dim, 1e-6), dim);
        double[][] y = softmax(q, k, v, heads, kvHeads, (i, j) -> i - j < window);
        return linear(y, scope + "o_proj", hidden);
    }

    private static double[][] rotate(double[][] x, int dim) {
        double[][] y = new double[x.length][x[0].length];
        for (int t = 0; t < x.length; t++) {
            for (int d = 0; d < y[t].length; d++) {
                int i = d % dim % (dim / 2);
                double angle = t * Math.pow(10000, -2.0 * i / dim);
                int other = d % dim < dim / 2 ? d + dim / 2 : d - dim / 2;
                double sign = d % dim < dim / 2 ? -1 : 1;
                y[t][d] = x[t][d] * Math.cos(angle) + sign * x[t][other] * Math.sin(angle);
            }
        }
        return y;
    }
}
