package io.nightmill.kernels.gpu;

/**
 * What walks along sequences, one lane per column of one sequence, token by token: where a step is cut makes no difference.
 * {@code batch} is {@link DeviceBatch}'s; {@code state} begins at the pool's first slot.
 */
final class SequenceKernels extends DeviceKernel {
    /** Values of a group's columns of S. */
    static final int MOST_COLUMNS = 8192;

    float[] out;
    float[] x;
    float[] dt;
    float[] a;
    float[] b;
    float[] c;
    float[] weight;
    float[] bias;
    float[] state;
    float[] query;
    float[] key;
    float[] value;
    float[] decay;
    float[] beta;
    float[] probe;
    float[] erase;
    float[] bonus;
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
    int heads;
    int queryHeads;
    int keyHeads;
    int keyDim;
    int valueDim;
    int decayKind;
    int decayRows;
    int rule;
    int hasBeta;
    int hasBonus;
    int chunk;
    int keysAt;
    int valuesAt;
    int lanes;
    float scale;

    /** {@code [keyDim, lanes]}. */
    @Local
    float[] columns = new float[MOST_COLUMNS];

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

    /** What S keeps; {@code decayKind} is the ordinal of {@link io.nightmill.kernels.Recurrence.Decay}. */
    float kept(int t, int head, int keyAt, int k, int v) {
        float r = 1;
        int row = t % decayRows;
        if (decayKind == 1) {
            r = decay[row * heads + head];
        } else if (decayKind == 2) {
            r = decay[row * keyHeads * keyDim + keyAt + k];
        } else if (decayKind == 3) {
            r = decay[row * heads * valueDim + head * valueDim + v];
        }
        return r;
    }

    /** A lane per sequence, head and column of S, which lies in local memory meanwhile; see {@link io.nightmill.kernels.Recurrence}. */
    public void recur() {
        int lane = getLocalId(0);
        int i = getGroupId(0) * lanes + lane;
        if (lane < lanes && i < spans * heads * valueDim) {
            int v = i % valueDim;
            int head = i / valueDim % heads;
            int span = i / valueDim / heads;
            int s = slot(span) + head * keyDim * valueDim + v;
            int queryAt = head / (heads / queryHeads) * keyDim;
            int keyAt = head / (heads / keyHeads) * keyDim;
            int keyWidth = keyHeads * keyDim;
            for (int k = 0; k < keyDim; k++) {
                columns[k * lanes + lane] = past(span) == 0 ? 0 : state[s + k * valueDim];
            }
            for (int t = first(span); t < end(span); t++) {
                int keyRow = t * keyWidth + keyAt;
                int queryRow = t * queryHeads * keyDim + queryAt;
                float write = value[(t * heads + head) * valueDim + v];
                float before = 0;
                float read = 0;
                if (rule == 1) {
                    float known = 0;
                    for (int k = 0; k < keyDim; k++) {
                        known = fma(kept(t, head, keyAt, k, v) * columns[k * lanes + lane], key[keyRow + k], known);
                    }
                    write = (hasBeta != 0 ? beta[t * heads + head] : 1) * (write - known);
                } else if (rule == 2) {
                    for (int k = 0; k < keyDim; k++) {
                        before = fma(columns[k * lanes + lane], probe[keyRow + k], before);
                    }
                }
                for (int k = 0; k < keyDim; k++) {
                    float old = columns[k * lanes + lane];
                    float next = fma(key[keyRow + k], write, kept(t, head, keyAt, k, v) * old);
                    if (rule == 2) {
                        next = fma(erase[keyRow + k], before, next);
                    }
                    float seen = next;
                    if (hasBonus != 0) {
                        seen = fma(bonus[keyAt + k] * key[keyRow + k], write, old);
                    }
                    columns[k * lanes + lane] = next;
                    read = fma(seen, query[queryRow + k], read);
                }
                out[(t * heads + head) * valueDim + v] = scale * read;
            }
            for (int k = 0; k < keyDim; k++) {
                state[s + k * valueDim] = columns[k * lanes + lane];
            }
        }
    }

    /** Decays that are listed for a chunk: S is what it was before the chunk, and the chunk's pairs lie beside it. */
    public void recurByTable() {
        int i = getGlobalId(0);
        if (i < spans * heads * valueDim) {
            int v = i % valueDim;
            int head = i / valueDim % heads;
            int span = i / valueDim / heads;
            int slot = slot(span);
            int s = slot + head * keyDim * valueDim + v;
            int queryAt = head / (heads / queryHeads) * keyDim;
            int table = head * (chunk * chunk + 2 * chunk + 1);
            for (int t = first(span); t < end(span); t++) {
                int position = past(span) + t - first(span);
                int place = position % chunk;
                int begin = position - place;
                float read = 0;
                if (begin > 0) {
                    for (int k = 0; k < keyDim; k++) {
                        read = fma(state[s + k * valueDim], query[t * queryHeads * keyDim + queryAt + k], read);
                    }
                    read = read * decay[table + chunk * chunk + place];
                }
                for (int j = 0; j <= place; j++) {
                    float dot = 0;
                    for (int k = 0; k < keyDim; k++) {
                        float q = query[t * queryHeads * keyDim + queryAt + k];
                        dot = fma(q, pairKey(span, slot, begin + j, j, head / (heads / keyHeads), k), dot);
                    }
                    float pair = dot * decay[table + place * chunk + j];
                    read = fma(pair, pairValue(span, slot, begin + j, j, head, v), read);
                }
                out[(t * heads + head) * valueDim + v] = scale * read;
                if (place == chunk - 1) {
                    for (int k = 0; k < keyDim; k++) {
                        float folded =
                                begin > 0 ? state[s + k * valueDim] * decay[table + chunk * chunk + 2 * chunk] : 0;
                        for (int j = 0; j < chunk; j++) {
                            float pair = pairKey(span, slot, begin + j, j, head / (heads / keyHeads), k)
                                    * decay[table + chunk * chunk + chunk + j];
                            folded = fma(pair, pairValue(span, slot, begin + j, j, head, v), folded);
                        }
                        state[s + k * valueDim] = folded;
                    }
                }
            }
        }
    }

    /** A pair's key: of this step, or kept from one before. */
    float pairKey(int span, int slot, int position, int place, int keyHead, int k) {
        float r = 0;
        if (position >= past(span)) {
            r = key[(first(span) + position - past(span)) * keyHeads * keyDim + keyHead * keyDim + k];
        } else {
            r = state[slot + keysAt + (keyHead * chunk + place) * keyDim + k];
        }
        return r;
    }

    float pairValue(int span, int slot, int position, int place, int head, int v) {
        float r = 0;
        if (position >= past(span)) {
            r = value[((first(span) + position - past(span)) * heads + head) * valueDim + v];
        } else {
            r = state[slot + valuesAt + (head * chunk + place) * valueDim + v];
        }
        return r;
    }

    /** After {@link #recurByTable}: keeps the pairs of the chunk that the step has ended in. */
    public void keepPairs() {
        int i = getGlobalId(0);
        int each = keyHeads * keyDim + heads * valueDim;
        if (i < spans * each) {
            int span = i / each;
            int d = i % each;
            int count = end(span) - first(span);
            int begin = (past(span) + count) / chunk * chunk;
            for (int p = max(begin, past(span)); p < past(span) + count; p++) {
                int t = first(span) + p - past(span);
                if (d < keyHeads * keyDim) {
                    int to = slot(span) + keysAt + (d / keyDim * chunk + p - begin) * keyDim + d % keyDim;
                    state[to] = key[t * keyHeads * keyDim + d];
                } else {
                    int e = d - keyHeads * keyDim;
                    int to = slot(span) + valuesAt + (e / valueDim * chunk + p - begin) * valueDim + e % valueDim;
                    state[to] = value[t * heads * valueDim + e];
                }
            }
        }
    }
}
