package io.nightmill.kernels.gpu;

/** Choices: tokens by their logits, experts by their scores. Ties go to the lower number. */
final class ChoiceKernels extends DeviceKernel {
    private static final float LEAST = -3.4028235E38f;

    float[] x;
    float[] out;
    float[] bias;
    float[] scores;
    float[] weights;
    float[] load;
    int[] targets;
    int[] results;
    int[] experts;
    int[] starts;
    int[] places;
    int[] tiles;
    int size;
    int width;
    int count;
    int topK;
    int choices;
    int mostTiles;
    int tileRows;
    int scoring;
    int groups;
    int topGroups;
    int sumsTwo;
    int renormalizes;
    int keepsBias;
    int has;
    float maskedScore;
    float scale;
    float jitter;

    @Local
    float[] values = new float[GROUP];

    @Local
    int[] places64 = new int[GROUP];

    /** A group per row of logits: token, bits of its log-probability, rank. */
    public void pick() {
        int lane = getLocalId(0);
        int row = getGroupId(0);
        int at = row * width;
        float most = LEAST;
        int best = width;
        for (int d = lane; d < width; d += GROUP) {
            if (x[at + d] > most || best == width) {
                most = x[at + d];
                best = d;
            }
        }
        values[lane] = most;
        places64[lane] = best;
        localBarrier();
        for (int i = 0; i < GROUP; i++) {
            boolean better = places64[i] < width
                    && (best == width || values[i] > most || values[i] == most && places64[i] < best);
            if (better) {
                most = values[i];
                best = places64[i];
            }
        }
        localBarrier();
        int token = targets[row] < 0 ? best : targets[row];
        float mine = x[at + token];
        float sum = 0;
        int before = 0;
        for (int d = lane; d < width; d += GROUP) {
            float v = x[at + d];
            sum = sum + exp(v - most);
            if (v > mine || v == mine && d < token) {
                before++;
            }
        }
        values[lane] = sum;
        places64[lane] = before;
        localBarrier();
        if (lane == 0) {
            float all = 0;
            int rank = 1;
            for (int i = 0; i < GROUP; i++) {
                all = all + values[i];
                rank = rank + places64[i];
            }
            results[3 * row] = token;
            results[3 * row + 1] = asInt(mine - most - log(all));
            results[3 * row + 2] = rank;
        }
    }

    /** Place of the largest of {@code count} values of {@code a} from {@code at} on. */
    int top(float[] a, int at, int n) {
        int best = 0;
        for (int e = 1; e < n; e++) {
            if (a[at + e] > a[at + best]) {
                best = e;
            }
        }
        return best;
    }

    /**
     * A lane per token; {@code scores} has room for two values per expert and one per group of it. {@code scoring} is the ordinal
     * of {@link io.nightmill.kernels.Backend.Router.Scoring}.
     */
    public void route() {
        int token = getGlobalId(0);
        if (token < size) {
            int at = token * (2 * width + groups);
            int choice = at + width;
            float most = x[token * width + top(x, token * width, width)];
            float sum = 0;
            for (int e = 0; e < width; e++) {
                float logit = x[token * width + e];
                float score = logit;
                if (scoring == 0) {
                    score = exp(logit - most);
                    sum = sum + score;
                } else if (scoring == 1) {
                    score = sigmoid(logit);
                }
                scores[at + e] = score;
            }
            for (int e = 0; e < width; e++) {
                if (scoring == 0) {
                    scores[at + e] = scores[at + e] / sum;
                }
                scores[choice + e] = has != 0 ? scores[at + e] + bias[e] : scores[at + e];
                if (keepsBias != 0) {
                    scores[at + e] = scores[choice + e];
                }
            }
            if (groups > 1) {
                maskGroups(choice);
            }
            if (scoring == 3) {
                mixSparsely(token, at, choice);
            } else {
                choose(token, at, choice);
            }
        }
    }

    void choose(int token, int at, int choice) {
        float sum = 0;
        for (int j = 0; j < topK; j++) {
            int best = top(scores, choice, width);
            scores[choice + best] = LEAST;
            experts[token * topK + j] = best;
            weights[token * topK + j] = scores[at + best];
        }
        if (scoring == 2) {
            float most = weights[token * topK];
            for (int j = 0; j < topK; j++) {
                float weight = exp(weights[token * topK + j] - most);
                weights[token * topK + j] = weight;
                sum = sum + weight;
            }
            for (int j = 0; j < topK; j++) {
                weights[token * topK + j] = weights[token * topK + j] / sum;
            }
            sum = 0;
        }
        for (int j = 0; j < topK; j++) {
            sum = sum + weights[token * topK + j];
        }
        float factor = renormalizes != 0 ? scale / (sum + 1e-20f) : scale;
        for (int j = 0; j < topK; j++) {
            weights[token * topK + j] = weights[token * topK + j] * factor;
        }
    }

    void mixSparsely(int token, int at, int left) {
        for (int j = 0; j < topK; j++) {
            int best = top(scores, left, width);
            float most = scores[left + best];
            float sum = 0;
            for (int e = 0; e < width; e++) {
                float score = scores[at + e];
                float distance = (most - score) / max(abs(score), most);
                if (distance <= 2 * jitter && scores[left + e] > LEAST) {
                    sum = sum + exp(scores[left + e] - most);
                }
            }
            experts[token * topK + j] = best;
            weights[token * topK + j] = scale / sum;
            scores[left + best] = LEAST;
        }
    }

    void maskGroups(int choice) {
        int each = width / groups;
        int groupAt = choice + width;
        for (int g = 0; g < groups; g++) {
            int first = top(scores, choice + g * each, each);
            float score = scores[choice + g * each + first];
            if (sumsTwo != 0 && each > 1) {
                float second = LEAST;
                for (int e = 0; e < each; e++) {
                    if (e != first) {
                        second = max(second, scores[choice + g * each + e]);
                    }
                }
                score = score + second;
            }
            scores[groupAt + g] = score;
        }
        for (int i = 0; i < topGroups; i++) {
            scores[groupAt + top(scores, groupAt, groups)] = LEAST;
        }
        for (int e = 0; e < width; e++) {
            if (scores[groupAt + e / each] > LEAST) {
                scores[choice + e] = maskedScore;
            }
        }
    }

    /** A lane per expert: where its choices stand once they are sorted, in the order of tokens. */
    public void sort() {
        int expert = getGlobalId(0);
        if (expert < width) {
            int start = 0;
            int mine = 0;
            for (int i = 0; i < choices; i++) {
                int e = experts[i];
                start = e < expert ? start + 1 : start;
                mine = e == expert ? mine + 1 : mine;
            }
            starts[expert] = start;
            starts[width + expert] = mine;
            for (int i = 0; i < choices; i++) {
                if (experts[i] == expert) {
                    places[i] = start;
                    start++;
                }
            }
        }
    }

    /** A lane per expert: its tiles of rows; what is left of the table is empty. */
    public void cut() {
        int expert = getGlobalId(0);
        if (expert < width) {
            int tile = 0;
            for (int e = 0; e < expert; e++) {
                tile = tile + (starts[width + e] + tileRows - 1) / tileRows;
            }
            int start = starts[expert];
            int mine = starts[width + expert];
            for (int i = 0; i < mine; i += tileRows) {
                tiles[3 * tile] = expert;
                tiles[3 * tile + 1] = start + i;
                tiles[3 * tile + 2] = min(tileRows, mine - i);
                tile++;
            }
            if (expert == width - 1) {
                for (int i = tile; i < mostTiles; i++) {
                    tiles[3 * i] = 0;
                    tiles[3 * i + 1] = 0;
                    tiles[3 * i + 2] = 0;
                }
            }
        }
    }

    /** A lane per value of {@code [choices, count]}: rows go to their experts. */
    public void dispatch() {
        int i = getGlobalId(0);
        if (i < size) {
            int row = i / count;
            int d = i % count;
            out[places[row] * count + d] = x[row / topK * count + d];
        }
    }

    public void combine() {
        int i = getGlobalId(0);
        if (i < size) {
            int token = i / count;
            int d = i % count;
            float sum = 0;
            for (int j = token * topK; j < (token + 1) * topK; j++) {
                sum = fma(weights[j], x[places[j] * count + d], sum);
            }
            out[i] = sum;
        }
    }

    public void addLoad() {
        int expert = getGlobalId(0);
        if (expert < width) {
            load[expert] = load[expert] + starts[width + expert];
        }
    }
}
