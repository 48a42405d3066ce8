package io.nightmill.kernels.gpu;

/**
 * Softmax attention over pages. Keys lie transposed in their page, {@code [heads, headWidth, 16]}, values as rows {@code [16, heads,
 * headWidth]}; {@code type} is the ordinal of {@link io.nightmill.tensor.KvType}, and of the arrays for it one is not null.
 *
 * <p>{@code batch} is {@link DeviceBatch}'s.
 */
final class AttentionKernels extends DeviceKernel {
    static final int PAGE = 16;
    static final int ROWS = 8;
    static final int MOST_KEYS = 640;
    static final int MOST_VALUES = 512;
    /** Keys whose softmax is one running sum; those of a sequence are then added in order. */
    static final int SEGMENT = 512;

    private static final float LEAST = -3.4028235E38f;

    float[] out;
    float[] x;
    float[] sinks;
    /** {@code [tiles, kvHeads, segments, 8, valueDim + 2]}: each row's weighted values, the sum of its weights and its largest score. */
    float[] partials;

    int[] batch;
    /** Of each tile: its sequence, and the first of its rows. */
    int[] tiles;

    float[] keys;
    short[] shortKeys;
    byte[] byteKeys;
    float[] keyFactors;
    float[] values;
    short[] shortValues;
    byte[] byteValues;
    float[] valueFactors;
    int type;
    int size;
    int spansAt;
    int pagesAt;
    int heads;
    int kvHeads;
    int headWidth;
    int keyDim;
    int valueDim;
    int valueWidth;
    int window;
    int lead;
    int has;
    int transposed;
    int valuesTransposed;
    int segments;
    float scale;
    float softcap;

    @Local
    float[] query = new float[ROWS * MOST_KEYS];

    @Local
    float[] sums = new float[ROWS * MOST_VALUES];

    @Local
    float[] scores = new float[ROWS * GROUP];

    @Local
    float[] parts = new float[GROUP];

    @Local
    float[] rescale = new float[ROWS];

    /** Row of a pool in which a sequence's position lies. */
    int poolRow(int span, int position) {
        return batch[pagesAt + batch[spansAt + 5 * span + 4] + position / PAGE] * PAGE + position % PAGE;
    }

    /** Place of a value of a head's row; {@code width} values or factors are in a head. */
    int place(int turned, int row, int headCount, int head, int width, int d) {
        int r = (row * headCount + head) * width + d;
        if (turned != 0) {
            r = (row / PAGE * headCount + head) * width * PAGE + d * PAGE + row % PAGE;
        }
        return r;
    }

    /** One value, or for bytes the group of 32 that shares a factor, of {@code size}. */
    public void append() {
        int i = getGlobalId(0);
        if (i < size) {
            int groups = (headWidth + 31) / 32;
            int perHead = type == 2 ? groups : headWidth;
            int part = i % perHead;
            int head = i / perHead % heads;
            int token = i / perHead / heads;
            int row = poolRow(batch[2 * token], batch[2 * token + 1]);
            int from = (token * heads + head) * headWidth;
            if (type == 0) {
                keys[place(transposed, row, heads, head, headWidth, part)] = x[from + part];
            } else if (type == 1) {
                shortKeys[place(transposed, row, heads, head, headWidth, part)] = (short) toBf16(x[from + part]);
            } else {
                int end = min(headWidth, part * 32 + 32);
                float largest = 0;
                for (int d = part * 32; d < end; d++) {
                    largest = max(largest, abs(x[from + d]));
                }
                float factor = largest / 127;
                keyFactors[place(transposed, row, heads, head, groups, part)] = factor;
                for (int d = part * 32; d < end; d++) {
                    float steps = factor == 0 ? 0 : rint(x[from + d] / factor);
                    byteKeys[place(transposed, row, heads, head, headWidth, d)] = (byte) ((int) steps);
                }
            }
        }
    }

    float key(int row, int head, int d) {
        int at = place(1, row, kvHeads, head, keyDim, d);
        float r = 0;
        if (type == 0) {
            r = keys[at];
        } else if (type == 1) {
            r = bf16(shortKeys[at]);
        } else {
            r = byteKeys[at] * keyFactors[place(1, row, kvHeads, head, (keyDim + 31) / 32, d / 32)];
        }
        return r;
    }

    float value(int row, int head, int d) {
        int at = place(valuesTransposed, row, kvHeads, head, valueWidth, d);
        float r = 0;
        if (type == 0) {
            r = values[at];
        } else if (type == 1) {
            r = bf16(shortValues[at]);
        } else {
            r = byteValues[at]
                    * valueFactors[place(valuesTransposed, row, kvHeads, head, (valueWidth + 31) / 32, d / 32)];
        }
        return r;
    }

    /** The score of a key at {@code j} for a query at {@code position}. */
    float seen(float dot, int position, int j) {
        int low = window > 0 ? max(0, position - window + 1) : 0;
        boolean visible = j <= position && (j >= low || j < lead);
        float score = dot * scale;
        score = softcap > 0 ? softcap * tanh(score / softcap) : score;
        return visible ? score : LEAST;
    }

    /** Position of a row of a tile, -1 behind the last. */
    int position(int past, int first, int row, int last) {
        return first + row < last ? past + (first + row) / (heads / kvHeads) : -1;
    }

    /**
     * A group takes up to {@value #ROWS} rows of a sequence, tokens times the heads that share a key head, and meets tiles of 64 keys at absolute
     * positions (Dao 2023, arXiv 2307.08691). Keys that a row does not see change nothing of it, so it does not matter which rows are
     * beside it. Where there are several {@code segments} of keys, a group takes one of them, and {@link #merge} follows.
     */
    public void attend() {
        int lane = getLocalId(0);
        int kvHead = getGroupId(1) % kvHeads;
        int segment = getGroupId(1) / kvHeads;
        int group = heads / kvHeads;
        int span = tiles[2 * getGroupId(0)];
        int first = tiles[2 * getGroupId(0) + 1];
        int at = spansAt + 5 * span;
        int token = batch[at];
        int past = batch[at + 2];
        int all = batch[at + 1] * group;
        int count = min(ROWS, all - first);
        int newest = past + (first + count - 1) / group;
        int oldest = past + first / group;
        int low = window > 0 ? max(0, oldest - window + 1) : 0;
        int leads = min(lead, window > 0 ? max(0, newest - window + 1) : 0);
        int leadTiles = (leads + GROUP - 1) / GROUP;
        int begin = segment * (SEGMENT / GROUP);
        int stop = newest / GROUP + 1;
        if (segments > 1) {
            stop = min(stop, begin + SEGMENT / GROUP);
        }
        int leading = max(0, min(leadTiles, stop) - begin);
        int firstTile = max(begin, max(leadTiles, low / GROUP));
        int rounds = leading + max(0, stop - firstTile);
        for (int i = lane; i < ROWS * keyDim; i += GROUP) {
            int row = first + min(i / keyDim, count - 1);
            int head = kvHead * group + row % group;
            query[i] = x[((token + row / group) * heads + head) * keyDim + i % keyDim];
        }
        for (int i = lane; i < ROWS * valueDim; i += GROUP) {
            sums[i] = 0;
        }
        // Eight lanes look after each row.
        int mine = lane / 8;
        boolean sinking = has != 0 && segment == 0;
        float most = sinking ? sinks[kvHead * group + (first + min(mine, count - 1)) % group] : LEAST;
        float total = sinking ? 1 : 0;
        localBarrier();
        for (int i = 0; i < rounds; i++) {
            int from = (i < leading ? begin + i : firstTile + i - leading) * GROUP;
            int j = from + lane;
            float a0 = 0;
            float a1 = 0;
            float a2 = 0;
            float a3 = 0;
            float a4 = 0;
            float a5 = 0;
            float a6 = 0;
            float a7 = 0;
            if (j <= newest) {
                int row = poolRow(span, j);
                if (count == 1) {
                    for (int d = 0; d < keyDim; d++) {
                        a0 = fma(query[d], key(row, kvHead, d), a0);
                    }
                } else {
                    for (int d = 0; d < keyDim; d++) {
                        float k = key(row, kvHead, d);
                        a0 = fma(query[d], k, a0);
                        a1 = fma(query[keyDim + d], k, a1);
                        a2 = fma(query[2 * keyDim + d], k, a2);
                        a3 = fma(query[3 * keyDim + d], k, a3);
                        a4 = fma(query[4 * keyDim + d], k, a4);
                        a5 = fma(query[5 * keyDim + d], k, a5);
                        a6 = fma(query[6 * keyDim + d], k, a6);
                        a7 = fma(query[7 * keyDim + d], k, a7);
                    }
                }
            }
            scores[lane] = seen(a0, position(past, first, 0, all), j);
            scores[GROUP + lane] = seen(a1, position(past, first, 1, all), j);
            scores[2 * GROUP + lane] = seen(a2, position(past, first, 2, all), j);
            scores[3 * GROUP + lane] = seen(a3, position(past, first, 3, all), j);
            scores[4 * GROUP + lane] = seen(a4, position(past, first, 4, all), j);
            scores[5 * GROUP + lane] = seen(a5, position(past, first, 5, all), j);
            scores[6 * GROUP + lane] = seen(a6, position(past, first, 6, all), j);
            scores[7 * GROUP + lane] = seen(a7, position(past, first, 7, all), j);
            localBarrier();
            float next = LEAST;
            for (int k = 8 * lane; k < 8 * lane + 8; k++) {
                next = max(next, scores[k]);
            }
            parts[lane] = next;
            localBarrier();
            next = most;
            for (int k = 8 * mine; k < 8 * mine + 8; k++) {
                next = max(next, parts[k]);
            }
            float part = 0;
            for (int k = 8 * lane; k < 8 * lane + 8; k++) {
                float weight = scores[k] == LEAST ? 0 : exp(scores[k] - next);
                scores[k] = weight;
                part = part + weight;
            }
            float kept = most == LEAST ? 0 : exp(most - next);
            most = next;
            localBarrier();
            parts[lane] = part;
            rescale[mine] = kept;
            localBarrier();
            total = total * kept;
            for (int k = 8 * mine; k < 8 * mine + 8; k++) {
                total = total + parts[k];
            }
            int end = min(GROUP, newest + 1 - from);
            for (int d = lane; d < valueDim; d += GROUP) {
                float s0 = sums[d] * rescale[0];
                float s1 = sums[valueDim + d] * rescale[1];
                float s2 = sums[2 * valueDim + d] * rescale[2];
                float s3 = sums[3 * valueDim + d] * rescale[3];
                float s4 = sums[4 * valueDim + d] * rescale[4];
                float s5 = sums[5 * valueDim + d] * rescale[5];
                float s6 = sums[6 * valueDim + d] * rescale[6];
                float s7 = sums[7 * valueDim + d] * rescale[7];
                if (count == 1) {
                    for (int k = 0; k < end; k++) {
                        s0 = fma(scores[k], value(poolRow(span, from + k), kvHead, d), s0);
                    }
                } else {
                    for (int k = 0; k < end; k++) {
                        float v = value(poolRow(span, from + k), kvHead, d);
                        s0 = fma(scores[k], v, s0);
                        s1 = fma(scores[GROUP + k], v, s1);
                        s2 = fma(scores[2 * GROUP + k], v, s2);
                        s3 = fma(scores[3 * GROUP + k], v, s3);
                        s4 = fma(scores[4 * GROUP + k], v, s4);
                        s5 = fma(scores[5 * GROUP + k], v, s5);
                        s6 = fma(scores[6 * GROUP + k], v, s6);
                        s7 = fma(scores[7 * GROUP + k], v, s7);
                    }
                }
                sums[d] = s0;
                sums[valueDim + d] = s1;
                sums[2 * valueDim + d] = s2;
                sums[3 * valueDim + d] = s3;
                sums[4 * valueDim + d] = s4;
                sums[5 * valueDim + d] = s5;
                sums[6 * valueDim + d] = s6;
                sums[7 * valueDim + d] = s7;
            }
            localBarrier();
        }
        rescale[mine] = total;
        localBarrier();
        if (segments > 1) {
            int to = ((getGroupId(0) * kvHeads + kvHead) * segments + segment) * ROWS * (valueDim + 2);
            for (int i = lane; i < count * valueDim; i += GROUP) {
                partials[to + i / valueDim * (valueDim + 2) + i % valueDim] = sums[i];
            }
            if (lane % 8 == 0) {
                partials[to + mine * (valueDim + 2) + valueDim] = total;
                partials[to + mine * (valueDim + 2) + valueDim + 1] = most;
            }
        } else {
            for (int i = lane; i < count * valueDim; i += GROUP) {
                int row = first + i / valueDim;
                int head = kvHead * group + row % group;
                out[((token + row / group) * heads + head) * valueDim + i % valueDim] = sums[i] / rescale[i / valueDim];
            }
        }
    }

    /** Adds the segments of a tile's rows, in order; one of which a row sees nothing changes nothing. */
    public void merge() {
        int kvHead = getGroupId(1);
        int group = heads / kvHeads;
        int at = spansAt + 5 * tiles[2 * getGroupId(0)];
        int first = tiles[2 * getGroupId(0) + 1];
        int count = min(ROWS, batch[at + 1] * group - first);
        for (int i = getLocalId(0); i < count * valueDim; i += GROUP) {
            int row = i / valueDim;
            float most = LEAST;
            float total = 0;
            float sum = 0;
            for (int segment = 0; segment < segments; segment++) {
                int from = (((getGroupId(0) * kvHeads + kvHead) * segments + segment) * ROWS + row) * (valueDim + 2);
                float score = partials[from + valueDim + 1];
                float next = max(most, score);
                float before = most == LEAST ? 0 : exp(most - next);
                float now = score == LEAST ? 0 : exp(score - next);
                sum = sum * before + partials[from + i % valueDim] * now;
                total = total * before + partials[from + valueDim] * now;
                most = next;
            }
            int r = first + row;
            int head = kvHead * group + r % group;
            out[((batch[at] + r / group) * heads + head) * valueDim + i % valueDim] = sum / total;
        }
    }
}
