package io.nightmill.kernels;

import static io.nightmill.kernels.HostBuffer.offset;
import static io.nightmill.kernels.HostBuffer.values;

import io.nightmill.kernels.Recurrence.Decay;
import io.nightmill.kernels.Recurrence.Rule;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The host's operations along time. A task is one head or a block of columns of one sequence; it walks the sequence's new
 * tokens in order, so nothing depends on how the tokens were split over steps.
 */
final class HostRecurrences {
    private static final int COLUMNS = 256;
    /** Tasks of a thread, where there are as many. */
    private static final int TASKS = 4;

    private final Lanes lanes;
    private final Workers workers;
    private final ThreadLocal<float[]> scratch = ThreadLocal.withInitial(() -> new float[0]);

    HostRecurrences(Lanes lanes, Workers workers) {
        this.lanes = lanes;
        this.workers = workers;
    }

    private float[] scratch(int size) {
        if (scratch.get().length < size) {
            scratch.set(new float[size]);
        }
        return scratch.get();
    }

    private interface Columns {
        void run(Batch.Span span, int first, int last);
    }

    /** A task for each block of columns of each sequence. */
    private void eachColumns(Batch batch, int width, Columns body) {
        List<Batch.Span> spans = batch.spans();
        int blocks = (width + COLUMNS - 1) / COLUMNS;
        workers.run(spans.size() * blocks, task -> {
            int first = task % blocks * COLUMNS;
            body.run(spans.get(task / blocks), first, Math.min(width, first + COLUMNS));
        });
    }

    void causalConv(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, State tail, Batch batch) {
        int width = x.width();
        int kernel = weight.width();
        HostSlots.reserve(tail, batch);
        eachColumns(batch, width, (span, first, last) -> {
            float[] in = values(x);
            float[] o = values(out);
            float[] w = values(weight);
            float[] kept = HostSlots.of(tail, span);
            int n = last - first;
            // Filters by place, so that the inner loop runs along columns.
            float[] filter = scratch(kernel * n);
            for (int j = 0; j < kernel; j++) {
                for (int d = 0; d < n; d++) {
                    filter[j * n + d] = w[offset(weight) + (first + d) * kernel + j];
                }
            }
            int base = offset(x) + span.first() * width + first;
            for (int t = 0; t < span.count(); t++) {
                int to = offset(out) + (span.first() + t) * width + first;
                if (bias == null) {
                    Arrays.fill(o, to, to + n, 0);
                } else {
                    System.arraycopy(values(bias), offset(bias) + first, o, to, n);
                }
                for (int j = 0; j < kernel; j++) {
                    int from = t - kernel + 1 + j;
                    if (from >= 0) {
                        lanes.multiplyAdd(filter, j * n, in, base + from * width, o, to, n);
                    } else if (span.past() > 0) {
                        lanes.multiplyAdd(filter, j * n, kept, (from + kernel - 1) * width + first, o, to, n);
                    }
                }
            }
            for (int j = 0; j < kernel - 1; j++) {
                int from = span.count() - kernel + 1 + j;
                int to = j * width + first;
                if (from >= 0) {
                    System.arraycopy(in, base + from * width, kept, to, n);
                } else if (span.past() > 0) {
                    System.arraycopy(kept, (from + kernel - 1) * width + first, kept, to, n);
                } else {
                    Arrays.fill(kept, to, to + n, 0);
                }
            }
        });
    }

    void shift(Tensor out, Tensor x, State last, Batch batch) {
        int width = x.width();
        HostSlots.reserve(last, batch);
        workers.run(batch.spans().size(), s -> {
            Batch.Span span = batch.spans().get(s);
            int from = offset(x) + span.first() * width;
            int to = offset(out) + span.first() * width;
            float[] kept = HostSlots.of(last, span);
            if (span.past() == 0) {
                Arrays.fill(values(out), to, to + width, 0);
            } else {
                System.arraycopy(kept, 0, values(out), to, width);
            }
            System.arraycopy(values(x), from, values(out), to + width, (span.count() - 1) * width);
            System.arraycopy(values(x), from + (span.count() - 1) * width, kept, 0, width);
        });
    }

    void scan(Tensor out, Tensor decay, Tensor x, State state, Batch batch) {
        int width = x.width();
        HostSlots.reserve(state, batch);
        eachColumns(batch, width, (span, first, last) -> {
            float[] h = HostSlots.of(state, span);
            int n = last - first;
            if (span.past() == 0) {
                Arrays.fill(h, first, last, 0);
            }
            for (int t = span.first(); t < span.first() + span.count(); t++) {
                int column = t * width + first;
                for (int d = 0; d < n; d++) {
                    float value = values(decay)[offset(decay) + column + d] * h[first + d]
                            + values(x)[offset(x) + column + d];
                    h[first + d] = value;
                    values(out)[offset(out) + column + d] = value;
                }
            }
        });
    }

    void selectiveScan(Tensor out, Tensor x, Tensor dt, Tensor a, Tensor b, Tensor c, State state, Batch batch) {
        int width = x.width();
        HostSlots.reserve(state, batch);
        eachColumns(batch, width, (span, first, last) -> {
            float[] h = HostSlots.of(state, span);
            int n = last - first;
            float[] work = scratch(n);
            if (span.past() == 0) {
                for (int row = 0; row < a.rows(); row++) {
                    Arrays.fill(h, row * width + first, row * width + last, 0);
                }
            }
            for (int t = span.first(); t < span.first() + span.count(); t++) {
                int column = t * width + first;
                int step = offset(dt) + column;
                int to = offset(out) + column;
                Arrays.fill(values(out), to, to + n, 0);
                System.arraycopy(values(dt), step, work, 0, n);
                lanes.multiply(work, 0, values(x), offset(x) + column, n);
                for (int row = 0; row < a.rows(); row++) {
                    float write = values(b)[offset(b) + t * b.width() + row];
                    float read = values(c)[offset(c) + t * c.width() + row];
                    int rates = offset(a) + row * width + first;
                    lanes.selectiveStep(
                            h,
                            row * width + first,
                            values(dt),
                            step,
                            values(a),
                            rates,
                            write,
                            work,
                            0,
                            read,
                            values(out),
                            to,
                            n);
                }
            }
        });
    }

    void recur(Tensor out, Update update, Recurrence r, State state, Batch batch) {
        List<Batch.Span> spans = batch.spans();
        HostSlots.reserve(state, batch);
        int sharing = r.decay() == Decay.KEY ? 1 : r.sharing();
        int perTask = headsPerTask(sharing, spans.size() * r.heads());
        int parts = (sharing + perTask - 1) / perTask;
        int perSpan = r.heads() / sharing * parts;
        workers.run(spans.size() * perSpan, task -> {
            int first = task % perSpan / parts * sharing;
            int from = first + task % parts * perTask;
            int to = Math.min(first + sharing, from + perTask);
            new Heads(out, update, r, state, spans.get(task / perSpan)).run(from, to);
        });
        if (r.decay() != Decay.KEY) {
            // Heads may share these, so they are kept once all heads have read the old ones.
            workers.run(
                    spans.size() * r.keyHeads(),
                    task -> keepKeys(update.key(), r, state, spans.get(task / r.keyHeads()), task % r.keyHeads()));
        }
    }

    /** All that share keys, or a part of them while threads would have too few tasks. */
    private int headsPerTask(int sharing, int heads) {
        int perTask = sharing;
        while (perTask > 1 && heads / perTask < TASKS * workers.threads()) {
            perTask /= 2;
        }
        return perTask;
    }

    /** Keeps the undecayed keys of the chunk that the span ends in. */
    private static void keepKeys(Tensor key, Recurrence r, State state, Batch.Span span, int keyHead) {
        int end = span.past() + span.count();
        float[] s = HostSlots.of(state, span);
        int keys = r.keys(keyHead);
        for (int position = Math.max(span.past(), end - end % r.chunk()); position < end; position++) {
            int row = span.first() + position - span.past();
            int from = offset(key) + row * key.width() + keyHead * r.keyDim();
            putColumn(values(key), from, r.keyDim(), s, keys + position % r.chunk(), r.pairs());
        }
    }

    /** Pairs keep their keys side by side, {@code [keyDim, pairs]}: reading and folding are products along rows then. */
    private static void putColumn(float[] x, int xo, int n, float[] to, int at, int stride) {
        for (int d = 0; d < n; d++) {
            to[at + d * stride] = x[xo + d];
        }
    }

    /** Heads of one sequence that share queries and keys, through its new tokens, chunk by chunk. */
    private final class Heads {
        final Tensor out;
        final Update u;
        final Recurrence r;
        final Batch.Span span;
        final int keyDim;
        final int valueDim;
        final int chunk;
        final int writes;
        final int pairs;
        final float[] s;
        final float[] work;
        /** Places in {@link #work} of what the heads share: the chunk's keys side by side, and products of rows with them. */
        final int gathered;

        final int scores;
        final int overlaps;
        /** Places in {@link #work} of a head's own. */
        final int queries;

        final int probes;
        final int reads;
        final int knowns;
        final int weights;
        final int folded;
        /** The head, and its places in the state: the matrix, the pairs' keys and values, the chunk's decay so far, the pairs' decays. */
        int head;

        int matrix;
        int storedKeys;
        int pairValues;
        int chunkDecay;
        int pairDecays;
        int queryColumn;
        int keyColumn;
        int outColumn;

        Heads(Tensor out, Update u, Recurrence r, State state, Batch.Span span) {
            this.out = out;
            this.u = u;
            this.r = r;
            this.span = span;
            keyDim = r.keyDim();
            valueDim = r.valueDim();
            chunk = r.chunk();
            writes = r.writes();
            pairs = r.pairs();
            s = HostSlots.of(state, span);
            gathered = 0;
            scores = gathered + keyDim * pairs;
            overlaps = scores + chunk * pairs;
            queries = overlaps + chunk * pairs;
            probes = queries + chunk * keyDim;
            reads = probes + chunk * keyDim;
            knowns = reads + chunk * valueDim;
            weights = knowns + chunk * valueDim;
            folded = weights + pairs;
            work = scratch(folded + keyDim * pairs);
        }

        private void enter(int head) {
            this.head = head;
            int keyHead = head / (r.heads() / r.keyHeads());
            matrix = r.matrix(head);
            storedKeys = r.keys(keyHead);
            pairValues = r.values(head);
            chunkDecay = r.decays(head);
            pairDecays = chunkDecay + r.decayWidth();
            queryColumn = head / (r.heads() / r.queryHeads()) * keyDim;
            keyColumn = keyHead * keyDim;
            outColumn = head * valueDim;
        }

        void run(int from, int to) {
            int t = 0;
            while (t < span.count()) {
                int place = (span.past() + t) % chunk;
                int n = Math.min(chunk - place, span.count() - t);
                boolean isFirst = span.past() + t < chunk;
                if (r.decay() != Decay.KEY) {
                    enter(from);
                    share(span.first() + t, place, n);
                }
                for (int head = from; head < to; head++) {
                    enter(head);
                    if (place == 0) {
                        Arrays.fill(s, chunkDecay, chunkDecay + r.decayWidth(), 1);
                    }
                    if (r.decay() == Decay.KEY) {
                        decayedKeys(span.first() + t, place, n, isFirst);
                    } else {
                        sharedKeys(span.first() + t, place, n, isFirst);
                    }
                    if (place + n == chunk) {
                        fold(isFirst);
                    }
                }
                t += n;
            }
        }

        private int at(Tensor x, int token, int column) {
            return offset(x) + (x.rows() == 1 ? 0 : token * x.width()) + column;
        }

        /** {@code out [n, valueDim] = x S}, or zeros while there is no S. */
        private void readMatrix(float[] x, int xo, int xs, int n, int to, boolean isFirst) {
            Arrays.fill(work, to, to + n * valueDim, 0);
            if (!isFirst) {
                lanes.weighted(x, xo, xs, n, s, matrix, valueDim, keyDim, valueDim, work, to, valueDim);
            }
        }

        /** {@code work[to ..] += sum_j work[weights + j] value_j} over the first pairs. */
        private void readPairs(int weights, int count, int to) {
            lanes.weighted(work, weights, 0, 1, s, pairValues, valueDim, count, valueDim, work, to, valueDim);
        }

        /** The same with weights that decay as their pairs do. */
        private void readDecayedPairs(int from, int count, int to) {
            for (int j = 0; j < count; j++) {
                work[weights + j] = work[from + j] * s[pairDecays + j];
            }
            readPairs(weights, count, to);
        }

        /** {@code work[to ..] [n, pairs] = x K}: of pairs that are not there yet too, which nobody reads. */
        private void scoreAll(float[] x, int xo, int xs, int n, float[] keys, int at, int to) {
            Arrays.fill(work, to, to + n * pairs, 0);
            lanes.weighted(x, xo, xs, n, keys, at, pairs, keyDim, pairs, work, to, pairs);
        }

        private void emit(int token, int from) {
            int to = offset(out) + token * out.width() + outColumn;
            for (int d = 0; d < valueDim; d++) {
                values(out)[to + d] = r.scale() * work[from + d];
            }
        }

        /** A token's value, corrected by what the state knows of its key where the rule asks for it, as a new pair. */
        private void keepValue(int token, int pair, int known) {
            int from = at(u.value(), token, outColumn);
            int to = pairValues + pair * valueDim;
            if (r.rule() == Rule.DELTA) {
                float beta = u.beta() == null ? 1 : values(u.beta())[at(u.beta(), token, head)];
                for (int d = 0; d < valueDim; d++) {
                    s[to + d] = beta * (values(u.value())[from + d] - work[known + d]);
                }
            } else {
                System.arraycopy(values(u.value()), from, s, to, valueDim);
            }
            s[pairDecays + pair] = 1;
        }

        /** The token's decay, on everything since the chunk began. */
        private void decayPairs(int token, int count) {
            Tensor decay = u.decay();
            if (decay == null) {
                return;
            }
            float[] w = values(decay);
            switch (r.decay()) {
                case NONE, TABLE -> {}
                case HEAD -> {
                    float factor = w[at(decay, token, head)];
                    s[chunkDecay] *= factor;
                    for (int j = 0; j < count; j++) {
                        s[pairDecays + j] *= factor;
                    }
                }
                case KEY -> {
                    int from = at(decay, token, head * keyDim);
                    for (int d = 0; d < keyDim && count > 0; d++) {
                        lanes.scale(s, storedKeys + d * pairs, w[from + d], pairs);
                    }
                }
                case VALUE -> {
                    int from = at(decay, token, head * valueDim);
                    lanes.multiply(s, chunkDecay, w, from, valueDim);
                    for (int j = 0; j < count; j++) {
                        lanes.multiply(s, pairValues + j * valueDim, w, from, valueDim);
                    }
                }
            }
        }

        /** Factors from the head's table: of the first pairs, and of S. */
        private void look(int first, int count, int onMatrix) {
            int table = offset(u.decay()) + head * u.decay().width();
            System.arraycopy(values(u.decay()), table + first, s, pairDecays, count);
            s[chunkDecay] = values(u.decay())[table + onMatrix];
        }

        /** What was read from S has decayed with it since the chunk began. */
        private void decayRead(int at) {
            if (r.decay() == Decay.HEAD || r.decay() == Decay.TABLE) {
                lanes.scale(work, at, s[chunkDecay], valueDim);
            } else if (r.decay() == Decay.VALUE) {
                lanes.multiply(work, at, s, chunkDecay, valueDim);
            }
        }

        /** What the heads share of tokens {@code token .. token + n} at {@code place} of a chunk: keys and products with them. */
        private void share(int token, int place, int n) {
            if (place > 0) {
                System.arraycopy(s, storedKeys, work, gathered, keyDim * pairs);
            }
            float[] k = values(u.key());
            int ko = at(u.key(), token, keyColumn);
            int ks = u.key().width();
            for (int i = 0; i < n; i++) {
                putColumn(k, ko + i * ks, keyDim, work, gathered + place + i, pairs);
            }
            float[] q = values(u.query());
            scoreAll(q, at(u.query(), token, queryColumn), u.query().width(), n, work, gathered, scores);
            if (r.rule() == Rule.DELTA) {
                scoreAll(k, ko, ks, n, work, gathered, overlaps);
            }
        }

        /** A head of tokens {@code token .. token + n} at {@code place} of a chunk whose keys do not change. */
        private void sharedKeys(int token, int place, int n, boolean isFirst) {
            readMatrix(
                    values(u.query()),
                    at(u.query(), token, queryColumn),
                    u.query().width(),
                    n,
                    reads,
                    isFirst);
            if (r.rule() == Rule.DELTA) {
                readMatrix(
                        values(u.key()), at(u.key(), token, keyColumn), u.key().width(), n, knowns, isFirst);
            }
            for (int i = 0; i < n; i++) {
                int pair = place + i;
                decayPairs(token + i, pair);
                if (r.rule() == Rule.DELTA) {
                    decayRead(knowns + i * valueDim);
                    readDecayedPairs(overlaps + i * pairs, pair, knowns + i * valueDim);
                }
                keepValue(token + i, pair, knowns + i * valueDim);
                if (r.decay() == Decay.TABLE) {
                    look(pair * chunk, pair + 1, chunk * chunk + pair);
                }
                decayRead(reads + i * valueDim);
                readDecayedPairs(scores + i * pairs, pair + 1, reads + i * valueDim);
                emit(token + i, reads + i * valueDim);
            }
        }

        /** {@code work[to ..] = x * the chunk's decay}, a row for S. */
        private void decayed(Tensor x, int token, int column, int to) {
            int from = at(x, token, column);
            for (int d = 0; d < keyDim; d++) {
                work[to + d] = values(x)[from + d] * s[chunkDecay + d];
            }
        }

        private void readPairs(Tensor x, int token, int column, int count, int to) {
            if (count > 0) {
                scoreAll(values(x), at(x, token, column), 0, 1, s, storedKeys, scores);
                readPairs(scores, count, to);
            }
        }

        /** The same where every key decays on its own: the kept keys are decayed in place, token by token. */
        private void decayedKeys(int token, int place, int n, boolean isFirst) {
            boolean readsBefore = u.bonus() != null;
            boolean probesAfter = r.rule() == Rule.DELTA;
            for (int i = 0; i < n; i++) {
                if (readsBefore) {
                    decayed(u.query(), token + i, queryColumn, queries + i * keyDim);
                }
                if (u.probe() != null) {
                    decayed(u.probe(), token + i, keyColumn, probes + i * keyDim);
                }
                if (u.decay() != null) {
                    lanes.multiply(s, chunkDecay, values(u.decay()), at(u.decay(), token + i, head * keyDim), keyDim);
                }
                if (!readsBefore) {
                    decayed(u.query(), token + i, queryColumn, queries + i * keyDim);
                }
                if (probesAfter) {
                    decayed(u.key(), token + i, keyColumn, probes + i * keyDim);
                }
            }
            readMatrix(work, queries, keyDim, n, reads, isFirst);
            if (probesAfter || u.probe() != null) {
                readMatrix(work, probes, keyDim, n, knowns, isFirst);
            }
            for (int i = 0; i < n; i++) {
                int row = token + i;
                int pair = (place + i) * writes;
                int read = reads + i * valueDim;
                int known = knowns + i * valueDim;
                if (u.probe() != null) {
                    readPairs(u.probe(), row, keyColumn, pair, known);
                }
                if (readsBefore) {
                    readPairs(u.query(), row, queryColumn, pair, read);
                }
                decayPairs(row, pair);
                if (probesAfter) {
                    readPairs(u.key(), row, keyColumn, pair, known);
                }
                if (u.erase() != null) {
                    putColumn(values(u.erase()), at(u.erase(), row, keyColumn), keyDim, s, storedKeys + pair, pairs);
                    System.arraycopy(work, known, s, pairValues + pair * valueDim, valueDim);
                    pair++;
                }
                putColumn(values(u.key()), at(u.key(), row, keyColumn), keyDim, s, storedKeys + pair, pairs);
                keepValue(row, pair, known);
                if (readsBefore) {
                    addBonus(row, pair, read);
                } else {
                    readPairs(u.query(), row, queryColumn, pair + 1, read);
                }
                emit(row, read);
            }
        }

        private void addBonus(int token, int pair, int read) {
            int q = at(u.query(), token, queryColumn);
            int k = at(u.key(), token, keyColumn);
            int b = offset(u.bonus()) + head * keyDim;
            float weight = 0;
            for (int d = 0; d < keyDim; d++) {
                weight += values(u.query())[q + d] * values(u.bonus())[b + d] * values(u.key())[k + d];
            }
            for (int d = 0; d < valueDim; d++) {
                work[read + d] += weight * s[pairValues + pair * valueDim + d];
            }
        }

        /** {@code S = decay S + sum_j key_j value_j^T}. */
        private void fold(boolean isFirst) {
            if (r.decay() == Decay.TABLE) {
                look(chunk * chunk + chunk, pairs, chunk * chunk + 2 * chunk);
            }
            boolean whole = r.decay() == Decay.HEAD || r.decay() == Decay.TABLE;
            if (whole) {
                System.arraycopy(work, gathered, work, folded, keyDim * pairs);
                for (int d = 0; d < keyDim; d++) {
                    lanes.multiply(work, folded + d * pairs, s, pairDecays, pairs);
                }
            }
            for (int d = 0; d < keyDim; d++) {
                int row = matrix + d * valueDim;
                if (isFirst) {
                    Arrays.fill(s, row, row + valueDim, 0);
                } else if (r.decay() == Decay.VALUE) {
                    lanes.multiply(s, row, s, chunkDecay, valueDim);
                } else if (r.decay() != Decay.NONE) {
                    lanes.scale(s, row, s[whole ? chunkDecay : chunkDecay + d], valueDim);
                }
            }
            boolean kept = r.decay() == Decay.KEY;
            lanes.weighted(
                    kept ? s : work,
                    kept ? storedKeys : whole ? folded : gathered,
                    pairs,
                    keyDim,
                    s,
                    pairValues,
                    valueDim,
                    pairs,
                    valueDim,
                    s,
                    matrix,
                    valueDim);
        }
    }

    private interface HeadBody {
        /** @param at the head's part of the sequence's state */
        void run(Batch.Span span, int head, int at);
    }

    /** A task for each head of each sequence. */
    private void eachHead(Batch batch, int heads, State state, HeadBody body) {
        List<Batch.Span> spans = batch.spans();
        HostSlots.reserve(state, batch);
        workers.run(spans.size() * heads, task -> {
            Batch.Span span = spans.get(task / heads);
            int head = task % heads;
            body.run(span, head, head * (state.pool().width() / heads));
        });
    }

    void recurByLevel(Tensor out, Update u, Tensor weights, Recurrence r, State state, Batch batch) {
        int levels = weights.width() / r.heads();
        int size = r.keyDim() * r.valueDim();
        eachHead(batch, r.heads(), state, (span, head, at) -> {
            float[] s = HostSlots.of(state, span);
            int queryColumn = head / (r.heads() / r.queryHeads()) * r.keyDim();
            int keyColumn = head / (r.heads() / r.keyHeads()) * r.keyDim();
            float[] read = scratch(r.keyDim());
            for (int i = 0; i < span.count(); i++) {
                int token = span.first() + i;
                int position = span.past() + i;
                float decay = values(u.decay())[offset(u.decay()) + token * r.heads() + head];
                age(s, at, size, levels, position, decay);
                int value = offset(u.value()) + token * u.value().width() + head * r.valueDim();
                for (int k = 0; k < r.keyDim(); k++) {
                    float key =
                            values(u.key())[offset(u.key()) + token * u.key().width() + keyColumn + k];
                    int row = at + k * r.valueDim();
                    System.arraycopy(values(u.value()), value, s, row, r.valueDim());
                    lanes.scale(s, row, key, r.valueDim());
                }
                int to = offset(out) + token * out.width() + head * r.valueDim();
                Arrays.fill(values(out), to, to + r.valueDim(), 0);
                int query = offset(u.query()) + token * u.query().width() + queryColumn;
                for (int level = 0; level < levels; level++) {
                    if (!isActive(level, levels, position)) {
                        continue;
                    }
                    float weight = r.scale()
                            * values(weights)[offset(weights) + token * weights.width() + head * levels + level];
                    for (int k = 0; k < r.keyDim(); k++) {
                        read[k] = weight * values(u.query())[query + k];
                    }
                    lanes.weighted(
                            read,
                            0,
                            0,
                            1,
                            s,
                            at + level * size,
                            r.valueDim(),
                            r.keyDim(),
                            r.valueDim(),
                            values(out),
                            to,
                            0);
                }
            }
        });
    }

    /** Whether a level holds tokens at a position. */
    static boolean isActive(int level, int levels, int position) {
        return level == 0 || (level == levels - 1 ? position >> (level - 1) > 0 : (position >> (level - 1) & 1) == 1);
    }

    /** Decays all levels, and joins those that a position's lowest bit has filled. */
    private void age(float[] s, int at, int size, int levels, int position, float decay) {
        if (position == 0) {
            return;
        }
        int target = Math.min(Integer.numberOfTrailingZeros(position) + 1, levels - 1);
        for (int level = target; level < levels; level++) {
            int to = at + level * size;
            boolean held = isActive(level, levels, position - 1);
            if (!held && level == target) {
                Arrays.fill(s, to, to + size, 0);
            }
            for (int lower = 0; lower < target && level == target; lower++) {
                lanes.decayAndWrite(s, to, 1, 1, s, at + lower * size, size);
            }
            if (held || level == target) {
                lanes.scale(s, to, decay, size);
            }
        }
    }

    void regress(Tensor out, Update u, Tensor ridge, State state, Batch batch) {
        int heads = ridge.rows();
        int keyDim = ridge.width();
        int valueDim = u.value().width() / heads;
        eachHead(batch, heads, state, (span, head, at) -> {
            float[] s = HostSlots.of(state, span);
            int moments = at + keyDim * keyDim;
            if (span.past() == 0) {
                Arrays.fill(s, at, moments + keyDim * valueDim, 0);
            }
            // In float64, since rounding grows with the matrix's condition.
            double[] factor = new double[keyDim * keyDim];
            double[] solution = new double[keyDim];
            float[] read = scratch(keyDim);
            for (int token = span.first(); token < span.first() + span.count(); token++) {
                float decay = values(u.decay())[offset(u.decay()) + token * heads + head];
                float beta = values(u.beta())[offset(u.beta()) + token * heads + head];
                int key = offset(u.key()) + token * u.key().width() + head * keyDim;
                int value = offset(u.value()) + token * u.value().width() + head * valueDim;
                for (int k = 0; k < keyDim; k++) {
                    float write = beta * values(u.key())[key + k];
                    lanes.decayAndWrite(s, at + k * keyDim, decay, write, values(u.key()), key, keyDim);
                    lanes.decayAndWrite(s, moments + k * valueDim, decay, write, values(u.value()), value, valueDim);
                }
                for (int k = 0; k < keyDim; k++) {
                    for (int j = 0; j <= k; j++) {
                        factor[k * keyDim + j] = s[at + k * keyDim + j];
                    }
                    factor[k * keyDim + k] += values(ridge)[offset(ridge) + head * keyDim + k];
                    solution[k] = values(u.query())[
                            offset(u.query()) + token * u.query().width() + head * keyDim + k];
                }
                Cholesky.solve(factor, solution);
                for (int k = 0; k < keyDim; k++) {
                    read[k] = (float) solution[k];
                }
                int to = offset(out) + token * out.width() + head * valueDim;
                Arrays.fill(values(out), to, to + valueDim, 0);
                lanes.weighted(read, 0, 0, 1, s, moments, valueDim, keyDim, valueDim, values(out), to, 0);
            }
        });
    }

    void trainAndRead(
            Tensor out, Tensor query, Tensor key, Tensor value, Tensor rate, FastWeights m, State state, Batch batch) {
        eachHead(batch, m.heads(), state, (span, head, at) -> {
            if (span.past() == 0) {
                System.arraycopy(
                        values(m.initial()),
                        offset(m.initial()) + head * m.weightWidth(),
                        HostSlots.of(state, span),
                        at,
                        m.weightWidth());
            }
            float[] work = scratch(HostFastModel.workWidth(m));
            HostFastModel model = new HostFastModel(lanes, m, head, HostSlots.of(state, span), at, work);
            for (int t = 0; t < span.count(); ) {
                int place = (span.past() + t) % m.miniBatch();
                int n = Math.min(m.miniBatch() - place, span.count() - t);
                model.run(out, query, key, value, rate, span.first() + t, place, n);
                t += n;
            }
        });
    }
}
