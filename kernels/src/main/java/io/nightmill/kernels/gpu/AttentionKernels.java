package io.nightmill.kernels.gpu;

/**
 * Softmax attention over pages. Keys lie transposed in their page, {@code [heads, headWidth, 16]}, values as rows {@code [16, heads,
 * headWidth]}; {@code type} is the ordinal of {@link io.nightmill.tensor.KvType}, and of the arrays for it one is not null.
 *
 * <p>{@code batch} is {@link DeviceBatch}'s.
 */
final class AttentionKernels extends DeviceKernel {
    static final int PAGE = 16;
    static final int MOST_KEYS = 640;
    static final int MOST_VALUES = 512;
    private static final float LEAST = -3.4028235E38f;

    float[] out;
    float[] x;
    float[] sinks;
    int[] batch;
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
    float scale;
    float softcap;

    @Local
    float[] query = new float[MOST_KEYS];

    @Local
    float[] sums = new float[MOST_VALUES];

    @Local
    float[] scores = new float[GROUP];

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

    /** A group per query row and head; tiles of 64 keys at absolute positions (Dao 2023, arXiv 2307.08691). */
    public void attend() {
        int lane = getLocalId(0);
        int token = getGroupId(0);
        int head = getGroupId(1);
        int kvHead = head / (heads / kvHeads);
        int span = batch[2 * token];
        int position = batch[2 * token + 1];
        int low = window > 0 ? max(0, position - window + 1) : 0;
        int seen = min(lead, low);
        int leadTiles = (seen + GROUP - 1) / GROUP;
        int firstTile = max(leadTiles, low / GROUP);
        int tiles = leadTiles + position / GROUP + 1 - firstTile;
        for (int d = lane; d < keyDim; d += GROUP) {
            query[d] = x[(token * heads + head) * keyDim + d];
        }
        for (int d = lane; d < valueDim; d += GROUP) {
            sums[d] = 0;
        }
        float most = has != 0 ? sinks[head] : LEAST;
        float sum = has != 0 ? 1 : 0;
        localBarrier();
        for (int i = 0; i < tiles; i++) {
            int from = (i < leadTiles ? i : firstTile + i - leadTiles) * GROUP;
            int j = from + lane;
            float score = LEAST;
            if (j <= position && (j >= low || j < lead)) {
                int row = poolRow(span, j);
                float dot = 0;
                for (int d = 0; d < keyDim; d++) {
                    dot = fma(query[d], key(row, kvHead, d), dot);
                }
                score = dot * scale;
                if (softcap > 0) {
                    score = softcap * tanh(score / softcap);
                }
            }
            scores[lane] = score;
            localBarrier();
            float next = most;
            for (int k = 0; k < GROUP; k++) {
                next = max(next, scores[k]);
            }
            localBarrier();
            scores[lane] = score == LEAST ? 0 : exp(score - next);
            localBarrier();
            float rescale = most == LEAST ? 0 : exp(most - next);
            most = next;
            sum = sum * rescale;
            for (int k = 0; k < GROUP; k++) {
                sum = sum + scores[k];
            }
            int end = min(GROUP, position + 1 - from);
            for (int d = lane; d < valueDim; d += GROUP) {
                float s = sums[d] * rescale;
                for (int k = 0; k < end; k++) {
                    float weight = scores[k];
                    if (weight > 0) {
                        s = fma(weight, value(poolRow(span, from + k), kvHead, d), s);
                    }
                }
                sums[d] = s;
            }
            localBarrier();
        }
        for (int d = lane; d < valueDim; d += GROUP) {
            out[(token * heads + head) * valueDim + d] = sums[d] / sum;
        }
    }
}
