package io.nightmill.kernels.gpu;

/**
 * Tokens drawn from rows of logits. What the likeliest tokens are is found by halving: as many passes over a row as a key has bits, and
 * nothing is sorted.
 */
final class SampleKernels extends DeviceKernel {
    private static final float LEAST = -3.4028235E38f;

    float[] x;
    float[] out;
    /** Of each draw: temperature, topP, minP, uniform. Of each edited token: shift, penalty, less, more. */
    float[] rules;
    /** Of each draw: row, topK. Of each edit: row, only. Of each edited token: edit, row, token. */
    int[] draws;

    int[] results;
    int width;
    int size;
    float least;

    @Local
    float[] sums = new float[GROUP];

    @Local
    int[] counts = new int[GROUP];

    /** A group per draw. A token takes part if its key is above {@code bound}, or is that and its id at most {@code last}. */
    public void sample() {
        int lane = getLocalId(0);
        int draw = getGroupId(0);
        int at = draws[2 * draw] * width;
        int topK = draws[2 * draw + 1];
        float temperature = rules[4 * draw];
        float topP = rules[4 * draw + 1];
        float minP = rules[4 * draw + 2];
        float most = LEAST;
        int best = width;
        for (int d = lane; d < width; d += GROUP) {
            if (x[at + d] > most || best == width) {
                most = x[at + d];
                best = d;
            }
        }
        best = likeliest(most, best);
        most = x[at + best];
        float inverse = temperature > 0 ? 1 / temperature : 0;
        int lowest = 1 << 31;
        int bound = lowest;
        int last = width;
        if (topK > 0 && topK < width) {
            // The largest key that so many reach, bit by bit from the highest.
            int found = 0;
            for (int bit = 31; bit >= 0; bit--) {
                int tried = (found | 1 << bit) ^ lowest;
                int mine = 0;
                for (int d = lane; d < width; d += GROUP) {
                    mine = key(x[at + d]) >= tried ? mine + 1 : mine;
                }
                int all = countOf(mine);
                found = all >= topK ? found | 1 << bit : found;
            }
            bound = found ^ lowest;
            int above = 0;
            for (int d = lane; d < width; d += GROUP) {
                above = key(x[at + d]) > bound ? above + 1 : above;
            }
            last = idOf(at, bound, topK - countOf(above));
        }
        if (topP < 1) {
            float part = 0;
            for (int d = lane; d < width; d += GROUP) {
                part = part + weight(x[at + d], d, most, inverse, minP, bound, last);
            }
            float goal = topP * sumOf(part);
            int found = 0;
            for (int bit = 31; bit >= 0; bit--) {
                int tried = (found | 1 << bit) ^ lowest;
                float mine = 0;
                for (int d = lane; d < width; d += GROUP) {
                    float w = weight(x[at + d], d, most, inverse, minP, bound, last);
                    mine = key(x[at + d]) >= tried ? mine + w : mine;
                }
                float all = sumOf(mine);
                found = all >= goal ? found | 1 << bit : found;
            }
            int edge = found ^ lowest;
            float mine = 0;
            for (int d = lane; d < width; d += GROUP) {
                float w = weight(x[at + d], d, most, inverse, minP, bound, last);
                mine = key(x[at + d]) > edge ? mine + w : mine;
            }
            float above = sumOf(mine);
            // Equal logits have equal weights: so many of them reach the goal.
            float each = exp((asFloat(edge ^ edge >> 31 & 0x7fffffff) - most) * inverse);
            int wanted = each > 0 ? max(1, (int) ceil((goal - above) / each)) : 1;
            int until = idOf(at, edge, wanted);
            last = edge > bound ? until : min(until, last);
            bound = edge;
        }
        int chunk = (width + GROUP - 1) / GROUP;
        int to = min(width, (lane + 1) * chunk);
        float mine = 0;
        for (int d = lane * chunk; d < to; d++) {
            mine = mine + weight(x[at + d], d, most, inverse, minP, bound, last);
        }
        sums[lane] = mine;
        localBarrier();
        if (lane == 0) {
            float left = 0;
            for (int i = 0; i < GROUP; i++) {
                left = left + sums[i];
            }
            left = left * rules[4 * draw + 3];
            int chosen = best;
            for (int i = 0; i < GROUP; i++) {
                boolean here = left >= 0 && sums[i] > 0;
                if (here) {
                    int end = min(width, (i + 1) * chunk);
                    boolean whole = left >= sums[i];
                    // Of a chunk that is passed, the last token may still be the last of all.
                    for (int d = i * chunk; d < end; d++) {
                        float w = weight(x[at + d], d, most, inverse, minP, bound, last);
                        boolean takes = w > 0 && left >= 0;
                        chosen = takes ? d : chosen;
                        left = takes && !whole ? left - w : left;
                    }
                    left = whole ? left - sums[i] : left;
                }
            }
            results[draw] = temperature > 0 ? chosen : best;
        }
    }

    /** Rows as they are, or ruled out where only named tokens stay. */
    public void copyForEdit() {
        int i = getGlobalId(0);
        if (i < size) {
            int edit = i / width;
            out[i] = draws[2 * edit + 1] != 0 ? least : x[draws[2 * edit] * width + i % width];
        }
    }

    /** A lane per named token. */
    public void edit() {
        int i = getGlobalId(0);
        if (i < size) {
            int id = draws[3 * i + 2];
            float penalty = rules[4 * i + 1];
            float logit = x[draws[3 * i + 1] * width + id] + rules[4 * i];
            float held = logit > 0 ? logit / penalty : logit * penalty;
            out[draws[3 * i] * width + id] = held - rules[4 * i + 2] - rules[4 * i + 3];
        }
    }

    /** One group: the {@code size} likeliest tokens, one after the other, and the bits of their log-probabilities. */
    public void top() {
        int lane = getLocalId(0);
        float most = 0;
        float first = 0;
        int best = -1;
        for (int place = 0; place < size; place++) {
            float value = LEAST;
            int id = width;
            for (int d = lane; d < width; d += GROUP) {
                float v = x[d];
                boolean left = place == 0 || v < most || v == most && d > best;
                if (left && (v > value || id == width)) {
                    value = v;
                    id = d;
                }
            }
            best = likeliest(value, id);
            most = x[best];
            first = place == 0 ? most : first;
            if (lane == 0) {
                results[2 * place] = best;
                results[2 * place + 1] = asInt(most - first);
            }
        }
        float part = 0;
        for (int d = lane; d < width; d += GROUP) {
            part = part + exp(x[d] - first);
        }
        float logSum = log(sumOf(part));
        if (lane == 0) {
            for (int place = 0; place < size; place++) {
                results[2 * place + 1] = asInt(asFloat(results[2 * place + 1]) - logSum);
            }
        }
    }

    /** The {@code wanted}th token, by id, of those with a key: the largest id before which there are fewer. */
    int idOf(int at, int edge, int wanted) {
        int id = 0;
        for (int bit = 30; bit >= 0; bit--) {
            int tried = id | 1 << bit;
            int mine = 0;
            for (int d = getLocalId(0); d < width; d += GROUP) {
                mine = key(x[at + d]) == edge && d < tried ? mine + 1 : mine;
            }
            int all = countOf(mine);
            id = all < wanted ? tried : id;
        }
        return id;
    }

    /** Of all lanes' tokens, {@code width} where a lane has none: that of the largest logit, of equal ones the first. */
    int likeliest(float logit, int id) {
        sums[getLocalId(0)] = logit;
        counts[getLocalId(0)] = id;
        localBarrier();
        float most = LEAST;
        int best = width;
        for (int i = 0; i < GROUP; i++) {
            boolean better =
                    counts[i] < width && (best == width || sums[i] > most || sums[i] == most && counts[i] < best);
            if (better) {
                most = sums[i];
                best = counts[i];
            }
        }
        localBarrier();
        return best;
    }

    /** Of all lanes, which all ask at once. */
    int countOf(int mine) {
        counts[getLocalId(0)] = mine;
        localBarrier();
        int all = 0;
        for (int i = 0; i < GROUP; i++) {
            all = all + counts[i];
        }
        localBarrier();
        return all;
    }

    /** In the order of the lanes. */
    float sumOf(float mine) {
        sums[getLocalId(0)] = mine;
        localBarrier();
        float all = 0;
        for (int i = 0; i < GROUP; i++) {
            all = all + sums[i];
        }
        localBarrier();
        return all;
    }

    /** Larger for larger values. */
    int key(float value) {
        // Zero has one sign.
        int bits = asInt(value + 0);
        return bits ^ bits >> 31 & 0x7fffffff;
    }

    float weight(float value, int id, float most, float inverse, float minP, int bound, int last) {
        float w = exp((value - most) * inverse);
        boolean takes = w >= minP && (key(value) > bound || key(value) == bound && id <= last);
        return takes ? w : 0;
    }
}
