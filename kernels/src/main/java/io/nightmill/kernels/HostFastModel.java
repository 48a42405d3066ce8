package io.nightmill.kernels;

import static io.nightmill.kernels.HostBuffer.offset;
import static io.nightmill.kernels.HostBuffer.values;

import io.nightmill.tensor.Tensor;

/** One head's model of {@link FastWeights} on the host: the tokens of a mini-batch that came together are one product. */
final class HostFastModel {
    private final Lanes lanes;
    private final FastWeights m;
    private final int head;
    private final float[] s;
    private final int at;
    private final float[] work;
    private final int dim;
    private final int first;

    /** Values that a model works with. */
    static int workWidth(FastWeights m) {
        return m.miniBatch() * (2 * m.firstOut() + m.headDim() + m.miniBatch());
    }

    /** @param at this head's state in {@code s} */
    HostFastModel(Lanes lanes, FastWeights m, int head, float[] s, int at, float[] work) {
        this.lanes = lanes;
        this.m = m;
        this.head = head;
        this.s = s;
        this.at = at;
        this.work = work;
        this.dim = m.headDim();
        this.first = m.firstOut();
    }

    /** Tokens {@code token .. token + n}, from {@code place} of a mini-batch on. */
    void run(Tensor out, Tensor query, Tensor key, Tensor value, Tensor rate, int token, int place, int n) {
        int column = head * dim;
        int z1 = 0;
        int z2 = z1 + n * first;
        int hidden = z2 + n * dim;
        int dots = hidden + n * first;
        int inputs1 = at + m.inputs1() + place * dim;
        int gradients1 = at + m.gradients1() + place * first;
        int inputs2 = at + m.inputs2() + place * m.inner();
        int gradients2 = at + m.gradients2() + place * dim;
        for (int i = 0; i < n; i++) {
            int from = offset(key) + (token + i) * key.width() + column;
            System.arraycopy(values(key), from, s, inputs1 + i * dim, dim);
        }
        layer(s, inputs1, dim, dim, n, at, at + m.bias1(), first, z1);
        if (m.isLinear()) {
            lossGradients(z1, gradients1, inputs1, value, token, n);
        } else {
            gelu(n, z1, s, inputs2);
            layer(s, inputs2, first, first, n, at + m.weight2(), at + m.bias2(), dim, z2);
            lossGradients(z2, gradients2, inputs1, value, token, n);
            lanes.dots(s, gradients2, dim, n, s, at + m.weight2(), dim, first, dim, s, gradients1, first);
            for (int i = 0; i < n * first; i++) {
                s[gradients1 + i] *= (float) FastModel.geluSlope(work[z1 + i]);
            }
        }
        for (int i = 0; i < n; i++) {
            float factor = values(rate)[offset(rate) + (token + i) * rate.width() + head];
            scale(gradients1 + i * first, first, factor);
            if (!m.isLinear()) {
                scale(gradients2 + i * dim, dim, factor);
            }
        }
        int q = offset(query) + token * query.width() + column;
        layer(values(query), q, query.width(), dim, n, at, at + m.bias1(), first, z1);
        descend(values(query), q, query.width(), dim, place, n, m.inputs1(), m.gradients1(), first, z1, dots);
        int result = z1;
        if (!m.isLinear()) {
            gelu(n, z1, work, hidden);
            layer(work, hidden, first, first, n, at + m.weight2(), at + m.bias2(), dim, z2);
            descend(work, hidden, first, first, place, n, m.inputs2(), m.gradients2(), dim, z2, dots);
            result = z2;
        }
        emit(out, query, token, n, result);
        if (place + n == m.miniBatch()) {
            fold(at, at + m.bias1(), dim, first, at + m.inputs1(), at + m.gradients1());
            if (!m.isLinear()) {
                fold(at + m.weight2(), at + m.bias2(), first, dim, at + m.inputs2(), at + m.gradients2());
            }
        }
    }

    /** Row by row: the end of a row is not computed as its middle is. */
    private void gelu(int n, int z, float[] to, int at) {
        for (int i = 0; i < n; i++) {
            lanes.activate(Activation.GELU_TANH, work, z + i * first, to, at + i * first, first);
        }
    }

    private void scale(int from, int count, float factor) {
        for (int i = from; i < from + count; i++) {
            s[i] *= factor;
        }
    }

    private void layer(float[] x, int xo, int xs, int in, int n, int w, int b, int out, int to) {
        for (int i = 0; i < n; i++) {
            System.arraycopy(s, b, work, to + i * out, out);
        }
        lanes.weighted(x, xo, xs, n, s, w, out, in, out, work, to, out);
    }

    /** Subtracts what the gradients of a token and those before it change. */
    private void descend(
            float[] x, int xo, int xs, int in, int place, int n, int inputs, int gradients, int out, int to, int dots) {
        int pairs = place + n;
        lanes.dots(x, xo, xs, n, s, at + inputs, in, pairs, in, work, dots, pairs);
        for (int i = 0; i < n; i++) {
            int row = dots + i * pairs;
            float rate = -m.tokenRate()[place + i];
            for (int j = 0; j <= place + i; j++) {
                work[row + j] = rate * (work[row + j] + 1);
            }
            lanes.weighted(work, row, 0, 1, s, at + gradients, out, place + i + 1, out, work, to + i * out, out);
        }
    }

    private void fold(int w, int b, int in, int out, int inputs, int gradients) {
        int pairs = m.miniBatch();
        float rate = -m.tokenRate()[pairs - 1];
        for (int j = 0; j < pairs; j++) {
            for (int d = 0; d < in; d++) {
                work[d * pairs + j] = rate * s[inputs + j * in + d];
            }
        }
        lanes.weighted(work, 0, pairs, in, s, gradients, out, pairs, out, s, w, out);
        for (int j = 0; j < pairs; j++) {
            for (int d = 0; d < out; d++) {
                s[b + d] += rate * s[gradients + j * out + d];
            }
        }
    }

    private float weight(int d) {
        return values(m.normWeight())[offset(m.normWeight()) + head * dim + d];
    }

    private float bias(int d) {
        return values(m.normBias())[offset(m.normBias()) + head * dim + d];
    }

    private double mean(int z) {
        double sum = 0;
        for (int d = 0; d < dim; d++) {
            sum += work[z + d];
        }
        return sum / dim;
    }

    private double deviation(int z, double mean) {
        double squares = 0;
        for (int d = 0; d < dim; d++) {
            squares += (work[z + d] - mean) * (work[z + d] - mean);
        }
        return Math.sqrt(squares / dim + m.eps());
    }

    /** {@code s[to ..]}: the gradient at each row of {@code z} of half the squared error against value - key. */
    private void lossGradients(int z, int to, int keys, Tensor value, int token, int n) {
        for (int i = 0; i < n; i++) {
            int row = z + i * dim;
            int v = offset(value) + (token + i) * value.width() + head * dim;
            double mean = mean(row);
            double deviation = deviation(row, mean);
            double sum = 0;
            double along = 0;
            for (int d = 0; d < dim; d++) {
                double normed = (work[row + d] - mean) / deviation;
                double target = values(value)[v + d] - s[keys + i * dim + d];
                double gradient = (weight(d) * normed + bias(d) - target) * weight(d);
                s[to + i * dim + d] = (float) gradient;
                sum += gradient / dim;
                along += gradient * normed / dim;
            }
            for (int d = 0; d < dim; d++) {
                double normed = (work[row + d] - mean) / deviation;
                s[to + i * dim + d] = (float) ((s[to + i * dim + d] - sum - normed * along) / deviation);
            }
        }
    }

    private void emit(Tensor out, Tensor query, int token, int n, int z) {
        for (int i = 0; i < n; i++) {
            int row = z + i * dim;
            int q = offset(query) + (token + i) * query.width() + head * dim;
            int o = offset(out) + (token + i) * out.width() + head * dim;
            double mean = mean(row);
            double deviation = deviation(row, mean);
            for (int d = 0; d < dim; d++) {
                double normed = (work[row + d] - mean) / deviation;
                values(out)[o + d] = (float) (values(query)[q + d] + weight(d) * normed + bias(d));
            }
        }
    }
}
