package io.nightmill.kernels.gpu;

/**
 * Layers whose state is learnt from the sequence, token by token. {@code scratch} has {@code scratchWidth} values for each sequence
 * and head.
 */
final class LearningKernels extends DeviceKernel {
    float[] out;
    float[] query;
    float[] key;
    float[] value;
    float[] beta;
    float[] decay;
    float[] rate;
    float[] ridge;
    float[] state;
    float[] scratch;
    float[] initial;
    float[] normWeight;
    float[] normBias;
    float[] tokenRate;
    float[] weights;
    int[] batch;
    int spansAt;
    int spans;
    int heads;
    int queryHeads;
    int keyHeads;
    int keyDim;
    int valueDim;
    int levels;
    int headDim;
    int inner;
    int miniBatch;
    int stateWidth;
    int headWidth;
    int weightWidth;
    int firstOut;
    int weight2;
    int bias2;
    int gradients1;
    int inputs2;
    int gradients2;
    int scratchWidth;
    int most;
    float scale;
    float eps;

    float gelu(float x) {
        return 0.5f * x * (1 + tanh(0.7978846f * (x + 0.044715f * x * x * x)));
    }

    float geluSlope(float x) {
        float t = tanh(0.7978846f * x * (1 + 0.044715f * x * x));
        return 0.5f * x * (1 - t * t) * 0.7978846f * (1 + 0.134145f * x * x) + 0.5f * (1 + t);
    }

    /** Value {@code n} of a layer {@code [in, outs]} with its bias, at {@code in} values of {@code x}. */
    float layer(float[] x, int at, int in, int w, int bias, int outs, int n) {
        float sum = state[bias + n];
        for (int d = 0; d < in; d++) {
            sum = fma(x[at + d], state[w + d * outs + n], sum);
        }
        return sum;
    }

    /** How far a token steps along the gradient of token {@code j} of the mini-batch. */
    float stepAlong(float[] x, int at, int in, int inputs, int j, int i) {
        float dot = 1;
        for (int d = 0; d < in; d++) {
            dot = fma(x[at + d], state[inputs + j * in + d], dot);
        }
        return tokenRate[i] * dot;
    }

    float mean(int z) {
        float sum = 0;
        for (int d = 0; d < headDim; d++) {
            sum = sum + scratch[z + d];
        }
        return sum / headDim;
    }

    float deviation(int z, float mean) {
        float sum = 0;
        for (int d = 0; d < headDim; d++) {
            float distance = scratch[z + d] - mean;
            sum = fma(distance, distance, sum);
        }
        return sqrt(sum / headDim + eps);
    }

    /** Half the squared error's gradient at the normed value {@code d}, before it goes through the norm. */
    float outerGradient(int z, float mean, float deviation, int head, int row, int d) {
        float w = normWeight[head * headDim + d];
        float normed = (scratch[z + d] - mean) / deviation;
        return (w * normed + normBias[head * headDim + d] - (value[row + d] - key[row + d])) * w;
    }

    /** Value {@code d} of the loss's gradient at {@code z}. */
    float lossGradient(int z, int head, int row, int d) {
        float mean = mean(z);
        float deviation = deviation(z, mean);
        float sum = 0;
        float along = 0;
        for (int e = 0; e < headDim; e++) {
            float g = outerGradient(z, mean, deviation, head, row, e);
            sum = sum + g;
            along = fma(g, (scratch[z + e] - mean) / deviation, along);
        }
        float normed = (scratch[z + d] - mean) / deviation;
        float mine = outerGradient(z, mean, deviation, head, row, d);
        return (mine - sum / headDim - normed * (along / headDim)) / deviation;
    }

    /** A group per sequence and head; see {@link io.nightmill.kernels.FastWeights}. */
    public void trainAndRead() {
        int lane = getLocalId(0);
        int span = getGroupId(0);
        int head = getGroupId(1);
        int first = batch[spansAt + 5 * span];
        int count = batch[spansAt + 5 * span + 1];
        int past = batch[spansAt + 5 * span + 2];
        int s = batch[spansAt + 5 * span + 3] * stateWidth + head * headWidth;
        int bias1 = s + headDim * firstOut;
        int a = (span * heads + head) * scratchWidth;
        int b = a + most;
        int c = b + most;
        int p = c + most;
        if (past == 0) {
            for (int i = lane; i < weightWidth; i += GROUP) {
                state[s + i] = initial[head * weightWidth + i];
            }
        }
        localGlobalBarrier();
        for (int t = first; t < first + count; t++) {
            int i = (past + t - first) % miniBatch;
            int row = (t * heads + head) * headDim;
            float learns = rate[t * heads + head];
            for (int n = lane; n < firstOut; n += GROUP) {
                float z = layer(key, row, headDim, s, bias1, firstOut, n);
                scratch[a + n] = z;
                scratch[b + n] = gelu(z);
            }
            localGlobalBarrier();
            if (inner > 0) {
                for (int d = lane; d < headDim; d += GROUP) {
                    scratch[c + d] = layer(scratch, b, inner, s + weight2, s + bias2, headDim, d);
                }
            }
            localGlobalBarrier();
            if (inner > 0) {
                for (int d = lane; d < headDim; d += GROUP) {
                    float g = lossGradient(c, head, row, d);
                    scratch[p + d] = g;
                    state[s + gradients2 + i * headDim + d] = learns * g;
                }
                for (int n = lane; n < inner; n += GROUP) {
                    state[s + inputs2 + i * inner + n] = scratch[b + n];
                }
            }
            for (int d = lane; d < headDim; d += GROUP) {
                state[s + weightWidth + i * headDim + d] = key[row + d];
            }
            localGlobalBarrier();
            for (int n = lane; n < firstOut; n += GROUP) {
                float g = 0;
                if (inner > 0) {
                    for (int d = 0; d < headDim; d++) {
                        g = fma(scratch[p + d], state[s + weight2 + n * headDim + d], g);
                    }
                    g = g * geluSlope(scratch[a + n]);
                } else {
                    g = lossGradient(a, head, row, n);
                }
                state[s + gradients1 + i * firstOut + n] = learns * g;
            }
            localGlobalBarrier();
            for (int j = lane; j <= i; j += GROUP) {
                scratch[p + j] = stepAlong(query, row, headDim, s + weightWidth, j, i);
            }
            localGlobalBarrier();
            for (int n = lane; n < firstOut; n += GROUP) {
                float z = layer(query, row, headDim, s, bias1, firstOut, n);
                for (int j = 0; j <= i; j++) {
                    z = fma(-scratch[p + j], state[s + gradients1 + j * firstOut + n], z);
                }
                scratch[c + n] = inner > 0 ? gelu(z) : z;
            }
            localGlobalBarrier();
            if (inner > 0) {
                for (int j = lane; j <= i; j += GROUP) {
                    scratch[p + j] = stepAlong(scratch, c, inner, s + inputs2, j, i);
                }
            }
            localGlobalBarrier();
            if (inner > 0) {
                for (int d = lane; d < headDim; d += GROUP) {
                    float z = layer(scratch, c, inner, s + weight2, s + bias2, headDim, d);
                    for (int j = 0; j <= i; j++) {
                        z = fma(-scratch[p + j], state[s + gradients2 + j * headDim + d], z);
                    }
                    scratch[b + d] = z;
                }
            }
            localGlobalBarrier();
            int z = inner > 0 ? b : c;
            float mean = mean(z);
            float deviation = deviation(z, mean);
            for (int d = lane; d < headDim; d += GROUP) {
                float normed = (scratch[z + d] - mean) / deviation;
                out[row + d] = query[row + d] + normWeight[head * headDim + d] * normed + normBias[head * headDim + d];
            }
            if (i == miniBatch - 1) {
                fold(lane, s, bias1, headDim, firstOut, s + weightWidth, s + gradients1);
                if (inner > 0) {
                    fold(lane, s + weight2, s + bias2, inner, headDim, s + inputs2, s + gradients2);
                }
            }
            localGlobalBarrier();
        }
    }

    /** A layer's weights take the steps of a whole mini-batch. */
    void fold(int lane, int w, int bias, int in, int outs, int inputs, int gradients) {
        float factor = tokenRate[miniBatch - 1];
        for (int e = lane; e < in * outs + outs; e += GROUP) {
            int n = e % outs;
            int d = e / outs;
            float sum = 0;
            for (int j = 0; j < miniBatch; j++) {
                float input = d < in ? state[inputs + j * in + d] : 1;
                sum = fma(input, state[gradients + j * outs + n], sum);
            }
            int at = d < in ? w + e : bias + n;
            state[at] = state[at] - factor * sum;
        }
    }

    /** A lane per column of a sequence's head; see {@link io.nightmill.kernels.Backend#recurByLevel}. */
    public void recurByLevel() {
        int v = getGroupId(1) * GROUP + getLocalId(0);
        int span = getGroupId(0) / heads;
        int head = getGroupId(0) % heads;
        if (v < valueDim) {
            int first = batch[spansAt + 5 * span];
            int count = batch[spansAt + 5 * span + 1];
            int past = batch[spansAt + 5 * span + 2];
            int each = keyDim * valueDim;
            int s = batch[spansAt + 5 * span + 3] * stateWidth + head * levels * each + v;
            if (past == 0) {
                for (int i = 0; i < levels * keyDim; i++) {
                    state[s + i * valueDim] = 0;
                }
            }
            for (int t = first; t < first + count; t++) {
                int position = past + t - first;
                int filled = position == 0 ? 0 : 1;
                for (int rest = position; rest > 0 && (rest & 1) == 0; rest = rest / 2) {
                    filled++;
                }
                filled = min(filled, levels - 1);
                float kept = decay[t * heads + head];
                int queryRow = (t * queryHeads + head / (heads / queryHeads)) * keyDim;
                int keyRow = (t * keyHeads + head / (heads / keyHeads)) * keyDim;
                float write = value[(t * heads + head) * valueDim + v];
                float read = 0;
                for (int k = 0; k < keyDim; k++) {
                    int at = s + k * valueDim;
                    for (int level = 0; level < filled; level++) {
                        state[at + filled * each] = state[at + filled * each] + state[at + level * each];
                        state[at + level * each] = 0;
                    }
                    state[at] = key[keyRow + k] * write;
                    float seen = weights[(t * heads + head) * levels] * state[at];
                    for (int level = 1; level < levels; level++) {
                        float held = state[at + level * each] * kept;
                        state[at + level * each] = held;
                        seen = fma(weights[(t * heads + head) * levels + level], held, seen);
                    }
                    read = fma(seen, query[queryRow + k], read);
                }
                out[(t * heads + head) * valueDim + v] = scale * read;
            }
        }
    }

    /** A lane per sequence and head; see {@link io.nightmill.kernels.Backend#regress}. Gauss and Jordan, in float32. */
    public void regress() {
        int lane = getGlobalId(0);
        if (lane < spans * heads) {
            int span = lane / heads;
            int head = lane % heads;
            int first = batch[spansAt + 5 * span];
            int count = batch[spansAt + 5 * span + 1];
            int past = batch[spansAt + 5 * span + 2];
            int width = keyDim + valueDim;
            int s = batch[spansAt + 5 * span + 3] * stateWidth + head * keyDim * width;
            for (int t = first; t < first + count; t++) {
                int k = (t * heads + head) * keyDim;
                int v = (t * heads + head) * valueDim;
                float kept = decay[t * heads + head];
                float learns = beta[t * heads + head];
                for (int e = 0; e < keyDim * width; e++) {
                    int j = e % width;
                    float with = j < keyDim ? key[k + j] : value[v + j - keyDim];
                    float old = past + t - first == 0 ? 0 : kept * state[s + e];
                    state[s + e] = fma(learns * key[k + e / width], with, old);
                }
                solve(lane * scratchWidth, s, width, k, head);
                for (int d = 0; d < valueDim; d++) {
                    float read = 0;
                    for (int i = 0; i < keyDim; i++) {
                        int at = lane * scratchWidth + i * (keyDim + 1);
                        read = fma(scratch[at + keyDim] / scratch[at + i], state[s + i * width + keyDim + d], read);
                    }
                    out[v + d] = read;
                }
            }
        }
    }

    /** Leaves a diagonal and a last column, whose quotients are the solution, from {@code system} on. */
    void solve(int system, int s, int width, int k, int head) {
        int columns = keyDim + 1;
        for (int e = 0; e < keyDim * columns; e++) {
            int i = e / columns;
            int j = e % columns;
            float entry = j < keyDim ? state[s + i * width + j] : query[k + i];
            scratch[system + e] = i == j ? entry + ridge[head * keyDim + i] : entry;
        }
        for (int pivot = 0; pivot < keyDim; pivot++) {
            int row = system + pivot * columns;
            for (int i = 0; i < keyDim; i++) {
                int at = system + i * columns;
                float factor = i == pivot ? 0 : scratch[at + pivot] / scratch[row + pivot];
                for (int j = pivot + 1; j < columns; j++) {
                    scratch[at + j] = scratch[at + j] - factor * scratch[row + j];
                }
            }
        }
    }
}
