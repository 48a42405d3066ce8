package io.nightmill.kernels.gpu;

/** Rows to rows: pointwise functions, norms and copies. */
final class RowKernels extends DeviceKernel {
    float[] out;
    float[] x;
    float[] y;
    float[] weight;
    float[] bias;
    int[] rows;
    int size;
    int width;
    int outWidth;
    int yWidth;
    int yRows;
    int outColumn;
    int inColumn;
    int inner;
    int stride;
    int offset;
    int rotary;
    int interleaved;
    int function;
    int has;
    float scale;
    float low;
    float high;

    @Local
    float[] sums = new float[GROUP];

    /** {@code out[i] = x[rows[i]]}. */
    public void gather() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = x[rows[i / width] * width + i % width];
        }
    }

    public void copyColumns() {
        int i = getGlobalId(0);
        if (i < size) {
            int row = i / inner;
            int d = i % inner;
            out[row * outWidth + outColumn + d] = x[row * width + inColumn + d];
        }
    }

    public void add() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = x[i] + scale * y[i / width % yRows * width + i % width];
        }
    }

    public void multiply() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = x[i] * y[i / width % yRows * yWidth + i % yWidth];
        }
    }

    /** {@code weight} is the mix. */
    public void mix() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = x[i] + (y[i] - x[i]) * weight[i / width % yRows * width + i % width];
        }
    }

    public void scale() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = x[i] * scale;
        }
    }

    public void clamp() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = max(low, min(x[i], high));
        }
    }

    public void softcap() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = scale * tanh(x[i] / scale);
        }
    }

    public void activate() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = activation(x[i]);
        }
    }

    /** {@code scale} is the limit and {@code low} alpha. */
    public void glu() {
        int i = getGlobalId(0);
        if (i < size) {
            int at = i / inner * 2 * inner;
            int d = i % inner;
            float gate = interleaved != 0 ? x[at + 2 * d] : x[at + d];
            float up = interleaved != 0 ? x[at + 2 * d + 1] : x[at + inner + d];
            if (scale > 0) {
                gate = min(gate, scale);
                up = max(-scale, min(up, scale));
                out[i] = (up + 1) * gate * sigmoid(low * gate);
            } else {
                out[i] = activation(gate) * up;
            }
        }
    }

    /** {@code function} is the ordinal of {@link io.nightmill.kernels.Activation}. */
    float activation(float v) {
        float r = v;
        if (function == 0) {
            r = v * sigmoid(v);
        } else if (function == 1) {
            r = 0.5f * v * (1 + errorFunction(v * 0.70710677f));
        } else if (function == 2) {
            r = 0.5f * v * (1 + tanh(0.7978846f * (v + 0.044715f * v * v * v)));
        } else if (function == 3) {
            r = max(0f, v);
        } else if (function == 4) {
            r = max(0f, v) * max(0f, v);
        } else if (function == 5) {
            r = sigmoid(v);
        } else if (function == 6) {
            r = tanh(v);
        } else if (function == 7) {
            r = max(0f, v) + log1p(exp(-abs(v)));
        } else if (function == 8) {
            r = min(0f, v) - log1p(exp(-abs(v)));
        } else if (function == 9) {
            r = exp(v);
        } else if (function == 10) {
            r = 1 - v;
        } else if (function == 11) {
            r = sqrt(max(0f, (1 - v) * (1 + v)));
        } else {
            r = 1 / max(abs(v), 1f);
        }
        return r;
    }

    /** Abramowitz and Stegun 7.1.26 is too coarse here, so the JVM takes the series 7.1.5. */
    @OpenCLMapping(mapTo = "erf")
    protected float errorFunction(float v) {
        float a = min(abs(v), 4f);
        float term = a;
        float sum = a;
        for (int n = 1; n < 60; n++) {
            term = -term * a * a / n;
            sum = sum + term / (2 * n + 1);
        }
        float r = a < 4 ? 1.1283792f * sum : 1f;
        return v < 0 ? -r : r;
    }

    /** {@code width} is that of the table; {@code size} counts pairs of all heads. */
    public void rope() {
        int i = getGlobalId(0);
        if (i < size) {
            int halves = rotary / 2;
            int d = i % halves;
            int heads = width / stride;
            int head = i / halves % heads;
            int row = i / halves / heads;
            int at = row * width + head * stride + offset;
            int a = interleaved != 0 ? at + 2 * d : at + d;
            int b = interleaved != 0 ? a + 1 : a + halves;
            float cosine = y[row * rotary + d];
            float sine = y[row * rotary + halves + d];
            float u = out[a];
            float v = out[b];
            out[a] = u * cosine - v * sine;
            out[b] = v * cosine + u * sine;
        }
    }

    /** The sum of all lanes' values, for each lane. */
    float total(int lane, float value) {
        sums[lane] = value;
        localBarrier();
        for (int other = GROUP / 2; other > 0; other = other / 2) {
            if (lane < other) {
                sums[lane] = sums[lane] + sums[lane + other];
            }
            localBarrier();
        }
        float all = sums[0];
        localBarrier();
        return all;
    }

    /** A group per row. */
    public void rmsNorm() {
        int lane = getLocalId(0);
        int row = getGroupId(0);
        int at = row * width;
        float sum = 0;
        for (int d = lane; d < width; d += GROUP) {
            sum = fma(x[at + d], x[at + d], sum);
        }
        float factor = 1 / sqrt(total(lane, sum) / width + scale);
        int from = has != 0 ? row % yRows * width : 0;
        for (int d = lane; d < width; d += GROUP) {
            out[at + d] = x[at + d] * factor * (has != 0 ? weight[from + d] : 1);
        }
    }

    public void layerNorm() {
        int lane = getLocalId(0);
        int row = getGroupId(0);
        int at = row * width;
        float sum = 0;
        for (int d = lane; d < width; d += GROUP) {
            sum = sum + x[at + d];
        }
        float mean = total(lane, sum) / width;
        float squares = 0;
        for (int d = lane; d < width; d += GROUP) {
            float distance = x[at + d] - mean;
            squares = fma(distance, distance, squares);
        }
        float factor = 1 / sqrt(total(lane, squares) / width + scale);
        int from = row % yRows * width;
        for (int d = lane; d < width; d += GROUP) {
            float normed = (x[at + d] - mean) * factor * weight[from + d];
            out[at + d] = has != 0 ? normed + bias[from + d] : normed;
        }
    }

    public void dotRows() {
        int lane = getLocalId(0);
        int row = getGroupId(0);
        float sum = 0;
        for (int d = lane; d < width; d += GROUP) {
            sum = fma(x[row * width + d], y[row * width + d], sum);
        }
        float all = total(lane, sum);
        if (lane == 0) {
            out[row] = all;
        }
    }

    public void softmax() {
        int lane = getLocalId(0);
        int at = getGroupId(0) * width;
        float most = -3.4028235E38f;
        for (int d = lane; d < width; d += GROUP) {
            most = max(most, x[at + d]);
        }
        sums[lane] = most;
        localBarrier();
        for (int i = 0; i < GROUP; i++) {
            most = max(most, sums[i]);
        }
        localBarrier();
        float sum = 0;
        for (int d = lane; d < width; d += GROUP) {
            sum = sum + exp(x[at + d] - most);
        }
        float all = total(lane, sum);
        for (int d = lane; d < width; d += GROUP) {
            out[at + d] = exp(x[at + d] - most) / all;
        }
    }
}
