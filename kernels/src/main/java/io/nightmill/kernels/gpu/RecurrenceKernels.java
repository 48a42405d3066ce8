package io.nightmill.kernels.gpu;

/**
 * {@link io.nightmill.kernels.Recurrence} in chunks at absolute positions, as there: S as it was before the current chunk, and the pairs of
 * key and value written since. What tokens see of pairs is computed for all tokens of a step at once ({@link #seePairs}); then a lane per
 * sequence, head and column of S walks from chunk to chunk ({@link #recur}). {@code batch} is {@link DeviceBatch}'s.
 *
 * <p>Decays are multiplied in the order of tokens, beginning with what the state holds, so no bit depends on how tokens are split over
 * steps.
 */
final class RecurrenceKernels extends DeviceKernel {
    /** Tokens that read S together, and rows of S that are folded together. */
    private static final int TILE = 8;

    float[] out;
    float[] state;
    float[] query;
    float[] key;
    float[] value;
    float[] decay;
    float[] beta;
    float[] probe;
    float[] erase;
    float[] bonus;
    /** {@code [tokens, someHeads, pairs]}: how much of each pair's value a token's query reads, and its key or probe. */
    float[] scores;

    float[] overlaps;
    /** {@code [tokens, width]}: queries, and keys or probes, as S is read by them. */
    float[] readers;

    float[] probers;
    /** The chunk's decay so far, and a token's keys as they will be folded, {@code [tokens, writes, width]}. */
    float[] passed;

    float[] folded;
    int[] batch;
    int spansAt;
    int spans;
    int size;
    int stateWidth;
    int heads;
    int queryHeads;
    int keyHeads;
    int keyDim;
    int valueDim;
    int decayKind;
    int decayRows;
    int rule;
    int writes;
    int pairs;
    int chunk;
    int fromHead;
    int someHeads;
    int readHeads;
    int probeHeads;
    int foldHeads;
    int keysAt;
    int valuesAt;
    int decaysAt;
    int decayWidth;
    int hasBeta;
    int hasBonus;
    float scale;

    int first(int span) {
        return batch[spansAt + 5 * span];
    }

    int count(int span) {
        return batch[spansAt + 5 * span + 1];
    }

    int past(int span) {
        return batch[spansAt + 5 * span + 2];
    }

    /** Where the sequence's state begins. */
    int slot(int span) {
        return batch[spansAt + 5 * span + 3] * stateWidth;
    }

    int table(int head) {
        return head * (chunk * chunk + 2 * chunk + 1);
    }

    int decays(int slot, int head) {
        return slot + decaysAt + head * (decayWidth + pairs);
    }

    float headDecay(int t, int head) {
        return decay[t % decayRows * heads + head];
    }

    float keyDecay(int t, int head, int k) {
        return decay[(t % decayRows * heads + head) * keyDim + k];
    }

    /** A pair's key as its token wrote it. */
    float written(int t, int pair, int keyHead, int k) {
        int at = (t * keyHeads + keyHead) * keyDim + k;
        return writes == 2 && pair % 2 == 0 ? erase[at] : key[at];
    }

    int stored(int slot, int keyHead, int k, int pair) {
        return slot + keysAt + (keyHead * keyDim + k) * pairs + pair;
    }

    /** Where every key decays by itself, a lane per token, head and key: what S is read by, and what will be folded into it. */
    public void decayKeys() {
        int i = getGlobalId(0);
        if (i < size) {
            int k = i % keyDim;
            int head = i / keyDim % heads;
            int t = i / keyDim / heads;
            int span = batch[2 * t];
            int offset = first(span) - past(span);
            int position = t - offset;
            int begin = position - position % chunk;
            float before = 1;
            float all = begin < past(span) ? state[decays(slot(span), head) + k] : 1;
            for (int p = max(begin, past(span)); p <= position; p++) {
                before = all;
                all = all * keyDecay(p + offset, head, k);
            }
            passed[i] = all;
            float q = query[(t * queryHeads + head / (heads / queryHeads)) * keyDim + k];
            readers[i] = q * (hasBonus != 0 ? before : all);
            if (rule == 1) {
                probers[i] = key[i] * all;
            }
            if (rule == 2) {
                probers[i] = probe[i] * before;
            }
            if (begin + chunk <= past(span) + count(span)) {
                float last = key[i];
                float erased = writes == 2 ? erase[i] : 0;
                for (int p = position + 1; p < begin + chunk; p++) {
                    last = last * keyDecay(p + offset, head, k);
                    erased = erased * keyDecay(p + offset, head, k);
                }
                int to = (t * writes * heads + head) * keyDim + k;
                if (writes == 2) {
                    folded[to] = erased;
                }
                folded[to + (writes - 1) * heads * keyDim] = last;
            }
        }
    }

    /** A lane per token, head and pair of its chunk. */
    public void seePairs() {
        int i = getGlobalId(0);
        if (i < size) {
            int pair = i % pairs;
            int head = fromHead + i / pairs % someHeads;
            int t = i / pairs / someHeads;
            int span = batch[2 * t];
            int past = past(span);
            int offset = first(span) - past;
            int position = t - offset;
            int place = position % chunk;
            int mine = position - place + pair / writes;
            if (mine <= position) {
                int slot = slot(span);
                int keyHead = head / (heads / keyHeads);
                int queryAt = (t * queryHeads + head / (heads / queryHeads)) * keyDim;
                int keyAt = (t * keyHeads + keyHead) * keyDim;
                int since = max(mine + 1, past);
                float score = 0;
                float overlap = 0;
                for (int k = 0; k < keyDim; k++) {
                    float before = 0;
                    if (mine < past) {
                        before = state[stored(slot, keyHead, k, pair)];
                    } else {
                        before = written(mine + offset, pair, keyHead, k);
                    }
                    float after = before;
                    if (decayKind == 2 && mine < position) {
                        for (int p = since; p < position; p++) {
                            before = before * keyDecay(p + offset, head, k);
                        }
                        after = before * keyDecay(t, head, k);
                    }
                    float seen = hasBonus != 0 ? before : after;
                    if (hasBonus != 0 && mine == position) {
                        seen = bonus[keyHead * keyDim + k] * before;
                    }
                    score = fma(query[queryAt + k], seen, score);
                    if (rule == 1) {
                        overlap = fma(key[keyAt + k], after, overlap);
                    }
                    if (rule == 2) {
                        overlap = fma(probe[keyAt + k], before, overlap);
                    }
                }
                if (decayKind == 1 && mine < position) {
                    float factor = mine < past ? state[decays(slot, head) + decayWidth + pair] : 1;
                    for (int p = since; p <= position; p++) {
                        factor = factor * headDecay(p + offset, head);
                    }
                    score = score * factor;
                    overlap = overlap * factor;
                }
                if (decayKind == 4) {
                    score = score * decay[table(head) + place * chunk + pair];
                }
                scores[i] = score;
                if (rule != 0) {
                    overlaps[i] = overlap;
                }
            }
        }
    }

    /** A lane per sequence, head and column of S. */
    public void recur() {
        int i = getGlobalId(0);
        if (i < size) {
            int v = i % valueDim;
            int head = fromHead + i / valueDim % someHeads;
            int span = i / valueDim / someHeads;
            int slot = slot(span);
            int s = slot + head * keyDim * valueDim + v;
            int values = slot + valuesAt + head * pairs * valueDim + v;
            int chunkDecay = decays(slot, head) + (decayKind == 3 ? v : 0);
            int readings = rule == 0 ? 1 : 2;
            int rowWidth = heads * valueDim;
            int column = head * valueDim + v;
            int end = first(span) + count(span);
            int offset = first(span) - past(span);
            int t = first(span);
            float all = 1;
            while (t < end) {
                int place = (t - offset) % chunk;
                int begin = t - offset - place;
                int n = min(chunk - place, end - t);
                int rowsOfS = begin > 0 ? keyDim : 0;
                if (decayKind == 1 || decayKind == 3) {
                    all = place == 0 ? 1 : state[chunkDecay];
                }
                for (int tile = 0; tile < n; tile += TILE) {
                    int last = t + n - 1;
                    int t0 = t + tile;
                    int t1 = min(t0 + 1, last);
                    int t2 = min(t0 + 2, last);
                    int t3 = min(t0 + 3, last);
                    int t4 = min(t0 + 4, last);
                    int t5 = min(t0 + 5, last);
                    int t6 = min(t0 + 6, last);
                    int t7 = min(t0 + 7, last);
                    // What S gives to each token lies where its output will be, and for a delta's known value where its
                    // pair will be.
                    for (int probing = 0; probing < readings; probing++) {
                        int width = probing == 0 ? readHeads * keyDim : probeHeads * keyDim;
                        int at = probing == 0
                                ? head / (heads / readHeads) * keyDim
                                : head / (heads / probeHeads) * keyDim;
                        float a0 = 0;
                        float a1 = 0;
                        float a2 = 0;
                        float a3 = 0;
                        float a4 = 0;
                        float a5 = 0;
                        float a6 = 0;
                        float a7 = 0;
                        for (int k = 0; k < rowsOfS; k++) {
                            float w = state[s + k * valueDim];
                            a0 = fma(w, reader(probing, t0 * width + at + k), a0);
                            a1 = fma(w, reader(probing, t1 * width + at + k), a1);
                            a2 = fma(w, reader(probing, t2 * width + at + k), a2);
                            a3 = fma(w, reader(probing, t3 * width + at + k), a3);
                            a4 = fma(w, reader(probing, t4 * width + at + k), a4);
                            a5 = fma(w, reader(probing, t5 * width + at + k), a5);
                            a6 = fma(w, reader(probing, t6 * width + at + k), a6);
                            a7 = fma(w, reader(probing, t7 * width + at + k), a7);
                        }
                        if (probing == 0) {
                            out[t7 * rowWidth + column] = a7;
                            out[t6 * rowWidth + column] = a6;
                            out[t5 * rowWidth + column] = a5;
                            out[t4 * rowWidth + column] = a4;
                            out[t3 * rowWidth + column] = a3;
                            out[t2 * rowWidth + column] = a2;
                            out[t1 * rowWidth + column] = a1;
                            out[t0 * rowWidth + column] = a0;
                        } else {
                            int to = values + (place - t) * writes * valueDim;
                            state[to + t7 * writes * valueDim] = a7;
                            state[to + t6 * writes * valueDim] = a6;
                            state[to + t5 * writes * valueDim] = a5;
                            state[to + t4 * writes * valueDim] = a4;
                            state[to + t3 * writes * valueDim] = a3;
                            state[to + t2 * writes * valueDim] = a2;
                            state[to + t1 * writes * valueDim] = a1;
                            state[to + t0 * writes * valueDim] = a0;
                        }
                    }
                    int until = min(t0 + TILE, t + n);
                    for (int token = t0; token < until; token++) {
                        int pair = (place + token - t) * writes;
                        int scored = (token * someHeads + head - fromHead) * pairs;
                        if (decayKind == 1) {
                            all = all * headDecay(token, head);
                        }
                        if (decayKind == 3) {
                            float factor = decay[token % decayRows * rowWidth + column];
                            all = all * factor;
                            for (int p = 0; p < pair; p++) {
                                state[values + p * valueDim] = state[values + p * valueDim] * factor;
                            }
                        }
                        if (decayKind == 4) {
                            all = decay[table(head) + chunk * chunk + pair];
                        }
                        float write = value[token * rowWidth + column];
                        if (rule != 0) {
                            float known = state[values + pair * valueDim] * all;
                            for (int p = 0; p < pair; p++) {
                                known = fma(overlaps[scored + p], state[values + p * valueDim], known);
                            }
                            if (rule == 1) {
                                write = (hasBeta != 0 ? beta[token * heads + head] : 1) * (write - known);
                            }
                            state[values + pair * valueDim] = known;
                        }
                        state[values + (pair + writes - 1) * valueDim] = write;
                        float read = out[token * rowWidth + column] * all;
                        for (int p = 0; p < pair + writes; p++) {
                            read = fma(scores[scored + p], state[values + p * valueDim], read);
                        }
                        out[token * rowWidth + column] = scale * read;
                    }
                }
                if (decayKind == 3) {
                    state[chunkDecay] = all;
                }
                t = t + n;
                if (place + n == chunk) {
                    fold(span, head, begin, s, values, all);
                }
            }
        }
    }

    /** S at the end of a chunk: what is left of it, and its pairs. */
    void fold(int span, int head, int begin, int s, int values, float all) {
        int slot = slot(span);
        int begun = past(span);
        int offset = first(span) - begun;
        int until = begin + chunk;
        int keyHead = head / (heads / keyHeads);
        int foldHead = head / (heads / foldHeads);
        int weighed = decayKind == 1 || decayKind == 4 ? pairs : 0;
        for (int pair = 0; pair < weighed; pair++) {
            float factor = 1;
            if (decayKind == 4) {
                factor = decay[table(head) + chunk * chunk + chunk + pair];
            } else {
                int mine = begin + pair;
                factor = mine < begun ? state[decays(slot, head) + decayWidth + pair] : 1;
                for (int p = max(mine + 1, begun); p < until; p++) {
                    factor = factor * headDecay(p + offset, head);
                }
            }
            state[values + pair * valueDim] = state[values + pair * valueDim] * factor;
        }
        float left = all;
        if (decayKind == 4) {
            left = decay[table(head) + chunk * chunk + 2 * chunk];
        }
        int end = until - 1 + offset;
        for (int from = 0; from < keyDim; from += TILE) {
            float a0 = kept(begin, s, end, head, from, left);
            float a1 = kept(begin, s, end, head, from + 1, left);
            float a2 = kept(begin, s, end, head, from + 2, left);
            float a3 = kept(begin, s, end, head, from + 3, left);
            float a4 = kept(begin, s, end, head, from + 4, left);
            float a5 = kept(begin, s, end, head, from + 5, left);
            float a6 = kept(begin, s, end, head, from + 6, left);
            float a7 = kept(begin, s, end, head, from + 7, left);
            for (int pair = 0; pair < pairs; pair++) {
                float u = state[values + pair * valueDim];
                int past = begin + pair / writes < begun ? begun : 0;
                int token = begin + pair / writes + offset;
                int at = ((token * writes + pair % writes) * foldHeads + foldHead) * keyDim;
                int storedAt = stored(slot, keyHead, 0, pair);
                a0 = fma(pairKey(past, until, offset, at, storedAt, head, from), u, a0);
                a1 = fma(pairKey(past, until, offset, at, storedAt, head, from + 1), u, a1);
                a2 = fma(pairKey(past, until, offset, at, storedAt, head, from + 2), u, a2);
                a3 = fma(pairKey(past, until, offset, at, storedAt, head, from + 3), u, a3);
                a4 = fma(pairKey(past, until, offset, at, storedAt, head, from + 4), u, a4);
                a5 = fma(pairKey(past, until, offset, at, storedAt, head, from + 5), u, a5);
                a6 = fma(pairKey(past, until, offset, at, storedAt, head, from + 6), u, a6);
                a7 = fma(pairKey(past, until, offset, at, storedAt, head, from + 7), u, a7);
            }
            put(s, from, a0);
            put(s, from + 1, a1);
            put(s, from + 2, a2);
            put(s, from + 3, a3);
            put(s, from + 4, a4);
            put(s, from + 5, a5);
            put(s, from + 6, a6);
            put(s, from + 7, a7);
        }
    }

    void put(int s, int k, float next) {
        if (k < keyDim) {
            state[s + k * valueDim] = next;
        }
    }

    /** What is left of a value of S. */
    float kept(int begin, int s, int end, int head, int k, float all) {
        float r = 0;
        if (begin > 0 && k < keyDim) {
            r = state[s + k * valueDim] * (decayKind == 2 ? passed[(end * heads + head) * keyDim + k] : all);
        }
        return r;
    }

    /**
     * A pair's key at the end of its chunk.
     *
     * @param past of the sequence, if the pair is of an earlier step, else 0
     */
    float pairKey(int past, int end, int offset, int at, int storedAt, int head, int k) {
        float r = 0;
        if (k < keyDim) {
            if (past == 0) {
                r = folded[at + k];
            } else {
                r = state[storedAt + k * pairs];
                if (decayKind == 2) {
                    for (int p = past; p < end; p++) {
                        r = r * keyDecay(p + offset, head, k);
                    }
                }
            }
        }
        return r;
    }

    float reader(int probing, int at) {
        return probing == 0 ? readers[at] : probers[at];
    }

    /** After {@link #recur}: keeps what the chunk that the step has ended in has of keys, and of decays that columns share. */
    public void keepPairs() {
        int i = getGlobalId(0);
        if (i < size) {
            int keys = keyHeads * keyDim * pairs;
            int each = size / spans;
            int span = i / each;
            int d = i % each;
            int past = past(span);
            int end = past + count(span);
            int begin = end - end % chunk;
            int offset = first(span) - past;
            int slot = slot(span);
            if (d < keys) {
                int pair = d % pairs;
                int mine = begin + pair / writes;
                int since = decayKind == 2 ? max(mine + 1, past) : end;
                if (mine < end && (mine >= past || since < end)) {
                    int keyHead = d / pairs / keyDim;
                    int k = d / pairs % keyDim;
                    int at = stored(slot, keyHead, k, pair);
                    float kept = 0;
                    if (mine < past) {
                        kept = state[at];
                    } else {
                        kept = written(mine + offset, pair, keyHead, k);
                    }
                    for (int p = since; p < end; p++) {
                        kept = kept * keyDecay(p + offset, keyHead, k);
                    }
                    state[at] = kept;
                }
            } else if (begin < end) {
                int e = d - keys;
                int perHead = decayKind == 2 ? keyDim : 1 + pairs;
                int head = e / perHead;
                int j = e % perHead;
                int at = decays(slot, head) + j;
                // Where every key decays by itself, j is a key's; else the chunk's factor, then those of pairs.
                float kept = 0;
                if (decayKind == 2) {
                    kept = passed[((end - 1 + offset) * heads + head) * keyDim + j];
                } else {
                    int mine = begin + j - 1;
                    int from = j == 0 ? begin : mine + 1;
                    kept = (j == 0 ? begin : mine) < past ? state[at] : 1;
                    for (int p = max(from, past); p < end; p++) {
                        kept = kept * headDecay(p + offset, head);
                    }
                }
                state[at] = kept;
            }
        }
    }
}
