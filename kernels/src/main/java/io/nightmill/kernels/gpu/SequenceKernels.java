package io.nightmill.kernels.gpu;

/**
 * What walks along sequences, one lane per column of one sequence, token by token: where a step is cut makes no difference.
 * {@code batch} is {@link DeviceBatch}'s; {@code state} begins at the pool's first slot.
 */
final class SequenceKernels extends DeviceKernel {
    float[] out;
    float[] x;
    float[] dt;
    float[] a;
    float[] b;
    float[] c;
    float[] weight;
    float[] bias;
    float[] state;
    float[] decay;
    int[] batch;
    int spansAt;
    int spans;
    int size;
    int from;
    int period;
    int width;
    int stateWidth;
    int taps;
    int states;
    int has;
    float scale;

    int first(int span) {
        return batch[spansAt + 5 * span];
    }

    int end(int span) {
        return batch[spansAt + 5 * span] + batch[spansAt + 5 * span + 1];
    }

    int past(int span) {
        return batch[spansAt + 5 * span + 2];
    }

    /** Where the sequence's state begins. */
    int slot(int span) {
        return batch[spansAt + 5 * span + 3] * stateWidth;
    }

    /** {@code x} are the frequencies. */
    public void rotary() {
        int i = getGlobalId(0);
        if (i < size) {
            int t = from + i / width;
            int d = i % width;
            int position = batch[2 * t + 1];
            position = period > 0 ? position % period : position;
            float angle = x[d] * position;
            out[2 * width * t + d] = cos(angle) * scale;
            out[2 * width * t + width + d] = sin(angle) * scale;
        }
    }

    public void started() {
        int t = getGlobalId(0);
        if (t < size) {
            out[t] = batch[2 * t + 1] == 0 ? 0 : 1;
        }
    }

    public void causalConv() {
        int i = getGlobalId(0);
        if (i < spans * width) {
            int span = i / width;
            int d = i % width;
            int first = first(span);
            int tail = slot(span) + d;
            int before = taps - 1;
            for (int t = first; t < end(span); t++) {
                float sum = has != 0 ? bias[d] : 0;
                for (int j = 0; j < taps; j++) {
                    int from = t - before + j;
                    float v = 0;
                    if (from >= first) {
                        v = x[from * width + d];
                    } else if (past(span) > 0) {
                        v = state[tail + (before + from - first) * width];
                    }
                    sum = fma(weight[d * taps + j], v, sum);
                }
                out[t * width + d] = sum;
            }
            int count = end(span) - first;
            for (int j = 0; j < before; j++) {
                int from = count + j;
                float v = 0;
                if (from >= before) {
                    v = x[(first + from - before) * width + d];
                } else if (past(span) > 0) {
                    v = state[tail + from * width];
                }
                state[tail + j * width] = v;
            }
        }
    }

    public void shift() {
        int i = getGlobalId(0);
        if (i < spans * width) {
            int span = i / width;
            int d = i % width;
            float before = past(span) > 0 ? state[slot(span) + d] : 0;
            for (int t = first(span); t < end(span); t++) {
                float current = x[t * width + d];
                out[t * width + d] = before;
                before = current;
            }
            state[slot(span) + d] = before;
        }
    }

    public void scan() {
        int i = getGlobalId(0);
        if (i < spans * width) {
            int span = i / width;
            int d = i % width;
            float h = past(span) > 0 ? state[slot(span) + d] : 0;
            for (int t = first(span); t < end(span); t++) {
                h = fma(decay[t * width + d], h, x[t * width + d]);
                out[t * width + d] = h;
            }
            state[slot(span) + d] = h;
        }
    }

    public void selectiveScan() {
        int i = getGlobalId(0);
        if (i < spans * width) {
            int span = i / width;
            int d = i % width;
            int h = slot(span) + d;
            if (past(span) == 0) {
                for (int n = 0; n < states; n++) {
                    state[h + n * width] = 0;
                }
            }
            for (int t = first(span); t < end(span); t++) {
                float step = dt[t * width + d];
                float write = step * x[t * width + d];
                float sum = 0;
                for (int n = 0; n < states; n++) {
                    float kept = exp(step * a[n * width + d]) * state[h + n * width];
                    kept = fma(b[t * states + n], write, kept);
                    state[h + n * width] = kept;
                    sum = fma(kept, c[t * states + n], sum);
                }
                out[t * width + d] = sum;
            }
        }
    }
}
