package io.nightmill.kernels;

import static io.nightmill.kernels.HostBuffer.offset;
import static io.nightmill.kernels.HostBuffer.values;

/** One head's model of {@link FastWeights} in float64, token by token: the definition. */
final class FastModel {
    final double[] state;
    private final FastWeights m;
    private final int head;

    FastModel(FastWeights m, int head) {
        this.m = m;
        this.head = head;
        this.state = new double[m.headWidth()];
        int from = offset(m.initial()) + head * m.weightWidth();
        for (int i = 0; i < m.weightWidth(); i++) {
            state[i] = values(m.initial())[from + i];
        }
    }

    /** Learns from a key and value and reads a query; {@code i} is the token's place in its mini-batch. */
    double[] step(int i, double[] query, double[] key, double[] value, double rate) {
        double[] z1 = layer(key, 0, m.firstOut(), m.bias1());
        double[] g1;
        if (m.isLinear()) {
            g1 = lossGradient(z1, key, value);
        } else {
            double[] x2 = gelu(z1);
            double[] g2 = lossGradient(layer(x2, m.weight2(), m.headDim(), m.bias2()), key, value);
            g1 = new double[m.inner()];
            for (int n = 0; n < m.inner(); n++) {
                for (int d = 0; d < m.headDim(); d++) {
                    g1[n] += g2[d] * state[m.weight2() + n * m.headDim() + d];
                }
                g1[n] *= geluSlope(z1[n]);
            }
            keep(x2, m.inputs2(), i, 1);
            keep(g2, m.gradients2(), i, rate);
        }
        keep(key, m.inputs1(), i, 1);
        keep(g1, m.gradients1(), i, rate);

        double[] z = layer(query, 0, m.firstOut(), m.bias1());
        descend(z, query, i, m.inputs1(), m.gradients1());
        if (!m.isLinear()) {
            double[] x2 = gelu(z);
            z = layer(x2, m.weight2(), m.headDim(), m.bias2());
            descend(z, x2, i, m.inputs2(), m.gradients2());
        }
        double[] normed = standard(z);
        double[] read = new double[z.length];
        for (int d = 0; d < read.length; d++) {
            read[d] = query[d] + weight(d) * normed[d] + bias(d);
        }
        if (i == m.miniBatch() - 1) {
            fold(0, m.bias1(), m.headDim(), m.firstOut(), m.inputs1(), m.gradients1());
            if (!m.isLinear()) {
                fold(m.weight2(), m.bias2(), m.inner(), m.headDim(), m.inputs2(), m.gradients2());
            }
        }
        return read;
    }

    private double weight(int d) {
        return values(m.normWeight())[offset(m.normWeight()) + head * m.headDim() + d];
    }

    private double bias(int d) {
        return values(m.normBias())[offset(m.normBias()) + head * m.headDim() + d];
    }

    private double[] layer(double[] x, int w, int out, int b) {
        double[] z = new double[out];
        for (int n = 0; n < out; n++) {
            z[n] = state[b + n];
            for (int d = 0; d < x.length; d++) {
                z[n] += x[d] * state[w + d * out + n];
            }
        }
        return z;
    }

    private void keep(double[] x, int at, int i, double factor) {
        for (int d = 0; d < x.length; d++) {
            state[at + i * x.length + d] = factor * x[d];
        }
    }

    /** The output of a layer whose weights have stepped along the gradients of the tokens {@code 0 .. i}. */
    private void descend(double[] z, double[] x, int i, int inputs, int gradients) {
        for (int j = 0; j <= i; j++) {
            double dot = 1;
            for (int d = 0; d < x.length; d++) {
                dot += x[d] * state[inputs + j * x.length + d];
            }
            for (int n = 0; n < z.length; n++) {
                z[n] -= m.tokenRate()[i] * dot * state[gradients + j * z.length + n];
            }
        }
    }

    private void fold(int w, int b, int in, int out, int inputs, int gradients) {
        double rate = m.tokenRate()[m.miniBatch() - 1];
        for (int j = 0; j < m.miniBatch(); j++) {
            for (int n = 0; n < out; n++) {
                double gradient = rate * state[gradients + j * out + n];
                state[b + n] -= gradient;
                for (int d = 0; d < in; d++) {
                    state[w + d * out + n] -= state[inputs + j * in + d] * gradient;
                }
            }
        }
    }

    /** {@code (z - mean) / deviation}. */
    private double[] standard(double[] z) {
        double mean = 0;
        for (double value : z) {
            mean += value / z.length;
        }
        double variance = 0;
        for (double value : z) {
            variance += (value - mean) * (value - mean) / z.length;
        }
        double[] normed = new double[z.length];
        for (int d = 0; d < z.length; d++) {
            normed[d] = (z[d] - mean) / Math.sqrt(variance + m.eps());
        }
        return normed;
    }

    /** The gradient at {@code z} of half the squared error of norm(z) against value - key. */
    private double[] lossGradient(double[] z, double[] key, double[] value) {
        double[] normed = standard(z);
        double mean = 0;
        double square = 0;
        for (double v : z) {
            mean += v / z.length;
            square += v * v / z.length;
        }
        double deviation = Math.sqrt(square - mean * mean + m.eps());
        double[] gradient = new double[z.length];
        double sum = 0;
        double along = 0;
        for (int d = 0; d < z.length; d++) {
            gradient[d] = (weight(d) * normed[d] + bias(d) - (value[d] - key[d])) * weight(d);
            sum += gradient[d] / z.length;
            along += gradient[d] * normed[d] / z.length;
        }
        for (int d = 0; d < z.length; d++) {
            gradient[d] = (gradient[d] - sum - normed[d] * along) / deviation;
        }
        return gradient;
    }

    private static double[] gelu(double[] x) {
        double[] y = new double[x.length];
        for (int d = 0; d < x.length; d++) {
            y[d] = 0.5 * x[d] * (1 + Math.tanh(0.7978845608028654 * (x[d] + 0.044715 * x[d] * x[d] * x[d])));
        }
        return y;
    }

    static double geluSlope(double x) {
        double tanh = Math.tanh(0.7978845608028654 * x * (1 + 0.044715 * x * x));
        double inner = 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
        return 0.5 * x * (1 - tanh * tanh) * inner + 0.5 * (1 + tanh);
    }
}
