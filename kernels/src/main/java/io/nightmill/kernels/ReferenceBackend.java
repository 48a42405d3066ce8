package io.nightmill.kernels;

import static io.nightmill.kernels.HostBuffer.offset;
import static io.nightmill.kernels.HostBuffer.values;

import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** The definition of every operation: plain loops, one thread, sums in float64. Slow on purpose. */
public final class ReferenceBackend implements Backend {
    @Override
    public String name() {
        return "reference";
    }

    @Override
    public Buffer allocate(long values) {
        return new HostBuffer(new float[Math.toIntExact(values)]);
    }

    /** Rows of float32, rounded to the type when they are written. */
    private record RoundedBuffer(HostBuffer floats, KvType type) implements Buffer {
        @Override
        public long size() {
            return floats.size();
        }
    }

    @Override
    public State allocate(State.Spec spec, int rows, KvType type) {
        HostBuffer floats = new HostBuffer(new float[Math.multiplyExact(rows, spec.width())]);
        Buffer buffer = spec instanceof State.Spec.Paged ? new RoundedBuffer(floats, type) : floats;
        return new State(spec, new Tensor(buffer, 0, rows, spec.width()));
    }

    /** The rows of a paged state. */
    private static Tensor rows(State state) {
        Tensor pool = state.pool();
        return new Tensor(((RoundedBuffer) pool.buffer()).floats, 0, pool.rows(), pool.width());
    }

    @Override
    public void upload(Tensor out, float[] values) {
        for (int i = 0; i < out.rows() * out.width(); i++) {
            values(out)[offset(out) + i] = values[i];
        }
    }

    @Override
    public void download(Tensor in, float[] values) {
        for (int i = 0; i < in.rows() * in.width(); i++) {
            values[i] = values(in)[offset(in) + i];
        }
    }

    private static float get(Tensor x, int row, int column) {
        return values(x)[offset(x) + row * x.width() + column];
    }

    private static void set(Tensor x, int row, int column, double value) {
        values(x)[offset(x) + row * x.width() + column] = (float) value;
    }

    @Override
    public void gather(Tensor out, Tensor in, int[] rows) {
        for (int i = 0; i < rows.length; i++) {
            for (int d = 0; d < in.width(); d++) {
                set(out, i, d, get(in, rows[i], d));
            }
        }
    }

    @Override
    public void copyRows(State state, int from, int to, int count) {
        Tensor pool = state.spec() instanceof State.Spec.Paged ? rows(state) : state.pool();
        for (int i = 0; i < count; i++) {
            for (int d = 0; d < pool.width(); d++) {
                set(pool, to + i, d, get(pool, from + i, d));
            }
        }
    }

    @Override
    public void copyColumns(Tensor out, int outColumn, Tensor in, int inColumn, int count) {
        for (int i = 0; i < in.rows(); i++) {
            for (int d = 0; d < count; d++) {
                set(out, i, outColumn + d, get(in, i, inColumn + d));
            }
        }
    }

    @Override
    public void embed(Tensor out, Matrix table, int[] ids, float scale) {
        float[] row = new float[table.in()];
        for (int i = 0; i < ids.length; i++) {
            Unpack.row(table, ids[i], row, 0);
            for (int d = 0; d < row.length; d++) {
                set(out, i, d, row[d] * scale);
            }
        }
    }

    private static void multiply(
            Tensor out, int column, Tensor x, int xColumn, int row, Matrix w, @Nullable Tensor bias, int biasRow) {
        float[] weights = new float[w.in()];
        for (int n = 0; n < w.out(); n++) {
            Unpack.row(w, n, weights, 0);
            double sum = 0;
            for (int k = 0; k < w.in(); k++) {
                sum += (double) get(x, row, xColumn + k) * weights[k];
            }
            set(out, row, column + n, (float) sum + (bias == null ? 0 : get(bias, biasRow, n)));
        }
    }

    @Override
    public void matmul(Tensor x, @Nullable Routes routes, List<Product> products) {
        int[] starts = HostRoutes.starts(routes, x.rows());
        for (Product product : products) {
            for (int g = 0; g < product.weights().size(); g++) {
                for (int i = starts[g]; i < starts[g + 1]; i++) {
                    multiply(
                            product.out(),
                            product.column(),
                            x,
                            0,
                            i,
                            product.weights().get(g),
                            product.biases(),
                            g);
                }
            }
        }
    }

    @Override
    public void headMatmul(Tensor out, Tensor x, List<Matrix> heads) {
        for (int h = 0; h < heads.size(); h++) {
            for (int i = 0; i < x.rows(); i++) {
                multiply(
                        out,
                        h * (out.width() / heads.size()),
                        x,
                        h * (x.width() / heads.size()),
                        i,
                        heads.get(h),
                        null,
                        0);
            }
        }
    }

    @Override
    public void rmsNorm(Tensor out, Tensor x, @Nullable Tensor weight, float eps) {
        for (int i = 0; i < x.rows(); i++) {
            double squares = 0;
            for (int d = 0; d < x.width(); d++) {
                squares += (double) get(x, i, d) * get(x, i, d);
            }
            double scale = 1 / Math.sqrt(squares / x.width() + eps);
            for (int d = 0; d < x.width(); d++) {
                set(out, i, d, get(x, i, d) * scale * (weight == null ? 1 : get(weight, i % weight.rows(), d)));
            }
        }
    }

    @Override
    public void layerNorm(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, float eps) {
        for (int i = 0; i < x.rows(); i++) {
            double mean = 0;
            for (int d = 0; d < x.width(); d++) {
                mean += (double) get(x, i, d) / x.width();
            }
            double variance = 0;
            for (int d = 0; d < x.width(); d++) {
                variance += (get(x, i, d) - mean) * (get(x, i, d) - mean) / x.width();
            }
            for (int d = 0; d < x.width(); d++) {
                double y = (get(x, i, d) - mean) / Math.sqrt(variance + eps) * get(weight, i % weight.rows(), d);
                set(out, i, d, bias == null ? y : y + get(bias, i % weight.rows(), d));
            }
        }
    }

    @Override
    public void add(Tensor out, Tensor x, Tensor y, float scale) {
        for (int i = 0; i < x.rows(); i++) {
            for (int d = 0; d < x.width(); d++) {
                set(out, i, d, get(x, i, d) + scale * get(y, i % y.rows(), d));
            }
        }
    }

    @Override
    public void multiply(Tensor out, Tensor x, Tensor y) {
        for (int i = 0; i < x.rows(); i++) {
            for (int d = 0; d < x.width(); d++) {
                set(out, i, d, get(x, i, d) * get(y, i % y.rows(), y.width() == 1 ? 0 : d));
            }
        }
    }

    @Override
    public void mix(Tensor out, Tensor x, Tensor y, Tensor mix) {
        for (int i = 0; i < x.rows(); i++) {
            for (int d = 0; d < x.width(); d++) {
                double distance = (double) get(y, i, d) - get(x, i, d);
                set(out, i, d, get(x, i, d) + distance * get(mix, i % mix.rows(), d));
            }
        }
    }

    @Override
    public void scale(Tensor out, Tensor x, float factor) {
        for (int i = 0; i < x.rows(); i++) {
            for (int d = 0; d < x.width(); d++) {
                set(out, i, d, get(x, i, d) * factor);
            }
        }
    }

    @Override
    public void dotRows(Tensor out, Tensor x, Tensor y) {
        for (int i = 0; i < x.rows(); i++) {
            double sum = 0;
            for (int d = 0; d < x.width(); d++) {
                sum += (double) get(x, i, d) * get(y, i, d);
            }
            set(out, i, 0, sum);
        }
    }

    @Override
    public void softmax(Tensor out, Tensor x) {
        for (int i = 0; i < x.rows(); i++) {
            double max = Double.NEGATIVE_INFINITY;
            for (int d = 0; d < x.width(); d++) {
                max = Math.max(max, get(x, i, d));
            }
            double sum = 0;
            for (int d = 0; d < x.width(); d++) {
                sum += Math.exp(get(x, i, d) - max);
            }
            for (int d = 0; d < x.width(); d++) {
                set(out, i, d, Math.exp(get(x, i, d) - max) / sum);
            }
        }
    }

    @Override
    public void activate(Tensor out, Tensor x, Activation activation) {
        for (int i = 0; i < x.rows(); i++) {
            for (int d = 0; d < x.width(); d++) {
                set(out, i, d, ScalarLanes.apply(activation, get(x, i, d)));
            }
        }
    }

    @Override
    public void glu(Tensor out, Tensor x, Glu glu) {
        int n = out.width();
        for (int i = 0; i < out.rows(); i++) {
            for (int d = 0; d < n; d++) {
                float gate = get(x, i, glu.interleaved() ? 2 * d : d);
                float up = get(x, i, glu.interleaved() ? 2 * d + 1 : n + d);
                if (glu.limit() > 0) {
                    gate = Math.min(gate, glu.limit());
                    up = Math.max(-glu.limit(), Math.min(up, glu.limit()));
                    set(out, i, d, (up + 1) * gate * ScalarLanes.sigmoid(glu.alpha() * gate));
                } else {
                    set(out, i, d, ScalarLanes.apply(glu.activation(), gate) * up);
                }
            }
        }
    }

    @Override
    public void clamp(Tensor x, float low, float high) {
        for (int i = 0; i < x.rows(); i++) {
            for (int d = 0; d < x.width(); d++) {
                set(x, i, d, Math.max(low, Math.min(get(x, i, d), high)));
            }
        }
    }

    @Override
    public void softcap(Tensor x, float cap) {
        for (int i = 0; i < x.rows(); i++) {
            for (int d = 0; d < x.width(); d++) {
                set(x, i, d, cap * Math.tanh(get(x, i, d) / cap));
            }
        }
    }

    @Override
    public void rotary(Tensor table, Batch batch, int from, int to, float[] frequencies, float factor, int period) {
        int[] positions = batch.positions();
        for (int t = from; t < to; t++) {
            int position = period == 0 ? positions[t] : positions[t] % period;
            for (int d = 0; d < frequencies.length; d++) {
                float angle = frequencies[d] * position;
                set(table, t, d, Math.cos(angle) * factor);
                set(table, t, frequencies.length + d, Math.sin(angle) * factor);
            }
        }
    }

    @Override
    public void started(Tensor out, Batch batch) {
        int[] positions = batch.positions();
        for (int t = 0; t < positions.length; t++) {
            set(out, t, 0, positions[t] == 0 ? 0 : 1);
        }
    }

    @Override
    public void rope(Tensor x, Tensor table, int stride, int offset, boolean interleaved) {
        for (int i = 0; i < x.rows(); i++) {
            for (int head = 0; head < x.width(); head += stride) {
                rotate(x, i, head + offset, table, i, interleaved);
            }
        }
    }

    private static void rotate(Tensor x, int row, int column, Tensor table, int position, boolean interleaved) {
        int half = table.width() / 2;
        for (int d = 0; d < half; d++) {
            int a = column + (interleaved ? 2 * d : d);
            int b = interleaved ? a + 1 : a + half;
            float cos = get(table, position, d);
            float sin = get(table, position, half + d);
            float u = get(x, row, a);
            float v = get(x, row, b);
            set(x, row, a, (double) u * cos - (double) v * sin);
            set(x, row, b, (double) v * cos + (double) u * sin);
        }
    }

    private static int poolRow(Batch.Span span, int position) {
        int page = span.pages()[position / Batch.PAGE_TOKENS];
        return page * Batch.PAGE_TOKENS + position % Batch.PAGE_TOKENS;
    }

    @Override
    public void append(State state, Tensor rows, Batch batch) {
        KvType type = ((RoundedBuffer) state.pool().buffer()).type;
        int width = ((State.Spec.Paged) state.spec()).headWidth();
        for (Batch.Span span : batch.spans()) {
            for (int i = 0; i < span.count(); i++) {
                int to = poolRow(span, span.past() + i);
                for (int d = 0; d < rows.width(); d++) {
                    float value = get(rows, span.first() + i, d);
                    int group = d - d % width % KvType.GROUP;
                    int end = Math.min(group + KvType.GROUP, d - d % width + width);
                    set(rows(state), to, d, rounded(type, value, rows, span.first() + i, group, end));
                }
            }
        }
    }

    /** @param from first value of the group that shares a factor, in row {@code row} of {@code x} */
    private static float rounded(KvType type, float value, Tensor x, int row, int from, int to) {
        switch (type) {
            case BF16:
                return Unpack.bf16(Unpack.toBf16(value));
            case INT8:
                float largest = 0;
                for (int d = from; d < to; d++) {
                    largest = Math.max(largest, Math.abs(get(x, row, d)));
                }
                float factor = largest / 127;
                return factor == 0 ? 0 : (float) Math.rint(value / factor) * factor;
            default:
                return value;
        }
    }

    @Override
    public void attend(Tensor out, Tensor query, State keys, State values, Attention a, Batch batch) {
        for (Batch.Span span : batch.spans()) {
            for (int i = 0; i < span.count(); i++) {
                for (int head = 0; head < a.heads(); head++) {
                    attendOne(out, query, rows(keys), rows(values), a, span, span.past() + i, head);
                }
            }
        }
    }

    private void attendOne(
            Tensor out,
            Tensor query,
            Tensor keys,
            Tensor values,
            Attention a,
            Batch.Span span,
            int position,
            int head) {
        int row = span.first() + position - span.past();
        int kvHead = head / (a.heads() / a.kvHeads());
        int low = a.window() > 0 ? Math.max(0, position - a.window() + 1) : 0;
        double[] weights = new double[position + 1];
        double max = a.sinks() == null ? Double.NEGATIVE_INFINITY : get(a.sinks(), 0, head);
        for (int j = 0; j <= position; j++) {
            if (j < low && j >= a.lead()) {
                weights[j] = Double.NEGATIVE_INFINITY;
                continue;
            }
            double score = 0;
            for (int d = 0; d < a.keyDim(); d++) {
                score += (double) get(query, row, head * a.keyDim() + d)
                        * get(keys, poolRow(span, j), kvHead * a.keyDim() + d);
            }
            score *= a.scale();
            weights[j] = a.softcap() > 0 ? a.softcap() * Math.tanh(score / a.softcap()) : score;
            max = Math.max(max, weights[j]);
        }
        double sum = a.sinks() == null ? 0 : Math.exp(get(a.sinks(), 0, head) - max);
        for (int j = 0; j <= position; j++) {
            weights[j] = Math.exp(weights[j] - max);
            sum += weights[j];
        }
        for (int d = 0; d < a.valueDim(); d++) {
            double value = 0;
            for (int j = 0; j <= position; j++) {
                value += weights[j] / sum * get(values, poolRow(span, j), kvHead * a.valueDim() + d);
            }
            set(out, row, head * a.valueDim() + d, value);
        }
    }

    @Override
    public void causalConv(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, State tail, Batch batch) {
        int kernel = weight.width();
        for (Batch.Span span : batch.spans()) {
            float[][] inputs = new float[span.count() + kernel - 1][x.width()];
            for (int j = 0; j < inputs.length; j++) {
                for (int d = 0; d < x.width(); d++) {
                    boolean isNew = j >= kernel - 1;
                    float old = span.past() == 0 || isNew ? 0 : get(tail.pool(), span.slot(), j * x.width() + d);
                    inputs[j][d] = isNew ? get(x, span.first() + j - kernel + 1, d) : old;
                }
            }
            for (int d = 0; d < x.width(); d++) {
                for (int t = 0; t < span.count(); t++) {
                    double sum = bias == null ? 0 : get(bias, 0, d);
                    for (int j = 0; j < kernel; j++) {
                        sum += (double) get(weight, d, j) * inputs[t + j][d];
                    }
                    set(out, span.first() + t, d, sum);
                }
                for (int j = 0; j < kernel - 1; j++) {
                    set(tail.pool(), span.slot(), j * x.width() + d, inputs[span.count() + j][d]);
                }
            }
        }
    }

    @Override
    public void shift(Tensor out, Tensor x, State last, Batch batch) {
        for (Batch.Span span : batch.spans()) {
            for (int d = 0; d < x.width(); d++) {
                float before = span.past() == 0 ? 0 : get(last.pool(), span.slot(), d);
                for (int t = span.first(); t < span.first() + span.count(); t++) {
                    float current = get(x, t, d);
                    set(out, t, d, before);
                    before = current;
                }
                set(last.pool(), span.slot(), d, before);
            }
        }
    }

    @Override
    public void scan(Tensor out, Tensor decay, Tensor x, State state, Batch batch) {
        for (Batch.Span span : batch.spans()) {
            for (int d = 0; d < x.width(); d++) {
                double h = span.past() == 0 ? 0 : get(state.pool(), span.slot(), d);
                for (int t = span.first(); t < span.first() + span.count(); t++) {
                    h = get(decay, t, d) * h + get(x, t, d);
                    set(out, t, d, h);
                }
                set(state.pool(), span.slot(), d, h);
            }
        }
    }

    @Override
    public void selectiveScan(Tensor out, Tensor x, Tensor dt, Tensor a, Tensor b, Tensor c, State state, Batch batch) {
        for (Batch.Span span : batch.spans()) {
            for (int d = 0; d < x.width(); d++) {
                double[] h = new double[a.rows()];
                for (int n = 0; n < h.length; n++) {
                    h[n] = span.past() == 0 ? 0 : get(state.pool(), span.slot(), n * x.width() + d);
                }
                for (int t = span.first(); t < span.first() + span.count(); t++) {
                    double sum = 0;
                    for (int n = 0; n < h.length; n++) {
                        double step = get(dt, t, d);
                        h[n] = Math.exp(step * get(a, n, d)) * h[n] + step * get(b, t, n) * get(x, t, d);
                        sum += h[n] * get(c, t, n);
                    }
                    set(out, t, d, sum);
                }
                for (int n = 0; n < h.length; n++) {
                    set(state.pool(), span.slot(), n * x.width() + d, h[n]);
                }
            }
        }
    }

    /** Token by token, with S itself as the state. */
    @Override
    public void recur(Tensor out, Update u, Recurrence r, State state, Batch batch) {
        if (r.decay() == Recurrence.Decay.TABLE) {
            recurByTable(out, u, r, state, batch);
            return;
        }
        for (Batch.Span span : batch.spans()) {
            for (int head = 0; head < r.heads(); head++) {
                double[][] s = new double[r.keyDim()][r.valueDim()];
                for (int k = 0; k < r.keyDim() && span.past() > 0; k++) {
                    for (int v = 0; v < r.valueDim(); v++) {
                        s[k][v] = get(state.pool(), span.slot(), r.matrix(head) + k * r.valueDim() + v);
                    }
                }
                for (int t = span.first(); t < span.first() + span.count(); t++) {
                    recurOne(out, u, r, s, t, head);
                }
                for (int k = 0; k < r.keyDim(); k++) {
                    for (int v = 0; v < r.valueDim(); v++) {
                        set(state.pool(), span.slot(), r.matrix(head) + k * r.valueDim() + v, s[k][v]);
                    }
                }
            }
        }
    }

    /** S as it was before the chunk, and the chunk's pairs. */
    private static void recurByTable(Tensor out, Update u, Recurrence r, State state, Batch batch) {
        int n = r.chunk();
        for (Batch.Span span : batch.spans()) {
            for (int task = 0; task < r.heads() * span.count(); task++) {
                int head = task / span.count();
                int position = span.past() + task % span.count();
                int t = span.first() + task % span.count();
                int place = position % n;
                int kAt = head / (r.heads() / r.keyHeads()) * r.keyDim();
                int qAt = head / (r.heads() / r.queryHeads()) * r.keyDim();
                int keys = r.keys(head / (r.heads() / r.keyHeads()));
                for (int k = 0; k < r.keyDim(); k++) {
                    set(state.pool(), span.slot(), keys + place * r.keyDim() + k, get(u.key(), t, kAt + k));
                }
                for (int v = 0; v < r.valueDim(); v++) {
                    int value = r.values(head) + v;
                    set(
                            state.pool(),
                            span.slot(),
                            value + place * r.valueDim(),
                            get(u.value(), t, head * r.valueDim() + v));
                    double read = 0;
                    for (int k = 0; k < r.keyDim(); k++) {
                        double seen = 0;
                        double folded = 0;
                        for (int j = 0; j <= place; j++) {
                            double pair = (double) get(state.pool(), span.slot(), keys + j * r.keyDim() + k)
                                    * get(state.pool(), span.slot(), value + j * r.valueDim());
                            seen += pair * get(u.decay(), head, place * n + j);
                            folded += pair * get(u.decay(), head, n * n + n + j);
                        }
                        int at = r.matrix(head) + k * r.valueDim() + v;
                        double matrix = position < n ? 0 : get(state.pool(), span.slot(), at);
                        read += get(u.query(), t, qAt + k) * (seen + matrix * get(u.decay(), head, n * n + place));
                        if (place == n - 1) {
                            set(state.pool(), span.slot(), at, folded + matrix * get(u.decay(), head, n * n + 2 * n));
                        }
                    }
                    set(out, t, head * r.valueDim() + v, r.scale() * read);
                }
            }
        }
    }

    private static void recurOne(Tensor out, Update u, Recurrence r, double[][] s, int t, int head) {
        int keyDim = r.keyDim();
        int valueDim = r.valueDim();
        int qAt = head / (r.heads() / r.queryHeads()) * keyDim;
        int kAt = head / (r.heads() / r.keyHeads()) * keyDim;
        double[] before = new double[valueDim];
        double[] value = new double[valueDim];
        double[] read = new double[valueDim];
        for (int v = 0; v < valueDim; v++) {
            value[v] = get(u.value(), t, head * valueDim + v);
            for (int k = 0; k < keyDim; k++) {
                before[v] += u.probe() == null ? 0 : s[k][v] * get(u.probe(), t, kAt + k);
                if (u.bonus() != null) {
                    double own = get(u.bonus(), 0, kAt + k) * get(u.key(), t, kAt + k) * value[v];
                    read[v] += (s[k][v] + own) * get(u.query(), t, qAt + k);
                }
            }
        }
        for (int k = 0; k < keyDim; k++) {
            for (int v = 0; v < valueDim; v++) {
                int column =
                        switch (r.decay()) {
                            case NONE, TABLE -> -1;
                            case HEAD -> head;
                            case KEY -> kAt + k;
                            case VALUE -> head * valueDim + v;
                        };
                s[k][v] *= column < 0 ? 1 : get(u.decay(), t % u.decay().rows(), column);
            }
        }
        for (int v = 0; v < valueDim; v++) {
            if (r.rule() == Recurrence.Rule.DELTA) {
                double known = 0;
                for (int k = 0; k < keyDim; k++) {
                    known += s[k][v] * get(u.key(), t, kAt + k);
                }
                value[v] = (u.beta() == null ? 1 : get(u.beta(), t, head)) * (value[v] - known);
            }
            for (int k = 0; k < keyDim; k++) {
                s[k][v] += get(u.key(), t, kAt + k) * value[v];
                s[k][v] += u.erase() == null ? 0 : get(u.erase(), t, kAt + k) * before[v];
                read[v] += u.bonus() != null ? 0 : s[k][v] * get(u.query(), t, qAt + k);
            }
            set(out, t, head * valueDim + v, r.scale() * read[v]);
        }
    }

    /** All levels as float64 sums of what the paper puts in them. */
    @Override
    public void recurByLevel(Tensor out, Update u, Tensor weights, Recurrence r, State state, Batch batch) {
        int levels = weights.width() / r.heads();
        int size = r.keyDim() * r.valueDim();
        for (Batch.Span span : batch.spans()) {
            for (int head = 0; head < r.heads(); head++) {
                int at = head * levels * size;
                double[][] s = new double[levels][size];
                for (int i = 0; i < levels * size && span.past() > 0; i++) {
                    s[i / size][i % size] = get(state.pool(), span.slot(), at + i);
                }
                for (int t = 0; t < span.count(); t++) {
                    levelsOne(out, u, weights, r, s, span.first() + t, span.past() + t, head);
                }
                for (int i = 0; i < levels * size; i++) {
                    set(state.pool(), span.slot(), at + i, s[i / size][i % size]);
                }
            }
        }
    }

    private static void levelsOne(
            Tensor out, Update u, Tensor weights, Recurrence r, double[][] s, int t, int position, int head) {
        int filled = position == 0 ? 0 : Math.min(Integer.numberOfTrailingZeros(position) + 1, s.length - 1);
        for (int i = 0; i < s[0].length; i++) {
            for (int level = 0; level < filled; level++) {
                s[filled][i] += s[level][i];
                s[level][i] = 0;
            }
            for (int level = 1; level < s.length; level++) {
                s[level][i] *= get(u.decay(), t, head);
            }
            int k = i / r.valueDim();
            double key = get(u.key(), t, head / (r.heads() / r.keyHeads()) * r.keyDim() + k);
            s[0][i] = key * get(u.value(), t, head * r.valueDim() + i % r.valueDim());
        }
        for (int v = 0; v < r.valueDim(); v++) {
            double read = 0;
            for (int k = 0; k < r.keyDim(); k++) {
                double query = get(u.query(), t, head / (r.heads() / r.queryHeads()) * r.keyDim() + k);
                for (int level = 0; level < s.length; level++) {
                    read += get(weights, t, head * s.length + level) * s[level][k * r.valueDim() + v] * query;
                }
            }
            set(out, t, head * r.valueDim() + v, r.scale() * read);
        }
    }

    @Override
    public void regress(Tensor out, Update u, Tensor ridge, State state, Batch batch) {
        int keyDim = ridge.width();
        int valueDim = u.value().width() / ridge.rows();
        int width = keyDim + valueDim;
        for (Batch.Span span : batch.spans()) {
            for (int head = 0; head < ridge.rows(); head++) {
                int at = head * keyDim * width;
                // Both matrices, side by side in each row.
                double[][] s = new double[keyDim][width];
                for (int i = 0; i < keyDim * width && span.past() > 0; i++) {
                    s[i / width][i % width] = get(state.pool(), span.slot(), at + i);
                }
                for (int t = span.first(); t < span.first() + span.count(); t++) {
                    double[] k = row(u.key(), t, head * keyDim, keyDim);
                    double[] v = row(u.value(), t, head * valueDim, valueDim);
                    double[][] system = new double[keyDim][keyDim + 1];
                    for (int i = 0; i < keyDim; i++) {
                        for (int j = 0; j < width; j++) {
                            double with = j < keyDim ? k[j] : v[j - keyDim];
                            s[i][j] = get(u.decay(), t, head) * s[i][j] + get(u.beta(), t, head) * k[i] * with;
                        }
                        System.arraycopy(s[i], 0, system[i], 0, keyDim);
                        system[i][i] += get(ridge, head, i);
                        system[i][keyDim] = get(u.query(), t, head * keyDim + i);
                    }
                    double[] solution = eliminated(system);
                    for (int d = 0; d < valueDim; d++) {
                        double read = 0;
                        for (int i = 0; i < keyDim; i++) {
                            read += solution[i] * s[i][keyDim + d];
                        }
                        set(out, t, head * valueDim + d, read);
                    }
                }
                for (int i = 0; i < keyDim * width; i++) {
                    set(state.pool(), span.slot(), at + i, s[i / width][i % width]);
                }
            }
        }
    }

    /** Gauss and Jordan; the last column is the right side. */
    private static double[] eliminated(double[][] system) {
        int n = system.length;
        for (int pivot = 0; pivot < n; pivot++) {
            for (int row = 0; row < n; row++) {
                double factor = row == pivot ? 0 : system[row][pivot] / system[pivot][pivot];
                for (int column = pivot; column <= n; column++) {
                    system[row][column] -= factor * system[pivot][column];
                }
            }
        }
        double[] solution = new double[n];
        for (int i = 0; i < n; i++) {
            solution[i] = system[i][n] / system[i][i];
        }
        return solution;
    }

    @Override
    public void trainAndRead(
            Tensor out, Tensor query, Tensor key, Tensor value, Tensor rate, FastWeights m, State state, Batch batch) {
        for (Batch.Span span : batch.spans()) {
            for (int head = 0; head < m.heads(); head++) {
                FastModel model = new FastModel(m, head);
                for (int i = 0; i < m.stateWidth() / m.heads() && span.past() > 0; i++) {
                    model.state[i] = get(state.pool(), span.slot(), head * model.state.length + i);
                }
                for (int t = 0; t < span.count(); t++) {
                    int row = span.first() + t;
                    int at = head * m.headDim();
                    double[] q = row(query, row, at, m.headDim());
                    double[] k = row(key, row, at, m.headDim());
                    double[] v = row(value, row, at, m.headDim());
                    double[] read = model.step((span.past() + t) % m.miniBatch(), q, k, v, get(rate, row, head));
                    for (int d = 0; d < read.length; d++) {
                        set(out, row, at + d, read[d]);
                    }
                }
                for (int i = 0; i < model.state.length; i++) {
                    set(state.pool(), span.slot(), head * model.state.length + i, model.state[i]);
                }
            }
        }
    }

    private static double[] row(Tensor x, int row, int column, int width) {
        double[] values = new double[width];
        for (int d = 0; d < width; d++) {
            values[d] = get(x, row, column + d);
        }
        return values;
    }

    @Override
    public void pick(Picks out, Tensor logits, int[] targets) {
        int n = logits.width();
        for (int i = 0; i < targets.length; i++) {
            int best = 0;
            for (int d = 1; d < n; d++) {
                best = get(logits, i, d) > get(logits, i, best) ? d : best;
            }
            int token = targets[i] < 0 ? best : targets[i];
            double sum = 0;
            int rank = 1;
            for (int d = 0; d < n; d++) {
                sum += Math.exp((double) get(logits, i, d) - get(logits, i, best));
                boolean before = get(logits, i, d) > get(logits, i, token)
                        || get(logits, i, d) == get(logits, i, token) && d < token;
                rank += before ? 1 : 0;
            }
            out.tokens()[i] = token;
            out.logprobs()[i] = (float) (get(logits, i, token) - get(logits, i, best) - Math.log(sum));
            out.ranks()[i] = rank;
        }
    }

    @Override
    public void sample(int[] tokens, Tensor logits, List<Draw> draws) {
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = sample(logits, draws.get(i));
        }
    }

    @Override
    public void edit(Tensor out, Tensor logits, List<Edit> edits) {
        for (int i = 0; i < edits.size(); i++) {
            Edit edit = edits.get(i);
            for (int id = 0; id < logits.width(); id++) {
                set(out, i, id, edit.only() ? Double.NEGATIVE_INFINITY : get(logits, edit.row(), id));
            }
            for (int k = 0; k < edit.ids().length; k++) {
                set(out, i, edit.ids()[k], edit.changed(get(logits, edit.row(), edit.ids()[k]), k));
            }
        }
    }

    @Override
    public void top(int[] tokens, float[] logprobs, Tensor row) {
        List<Integer> order = order(row, 0);
        double sum = 0;
        for (int id = 0; id < row.width(); id++) {
            sum += Math.exp(get(row, 0, id) - get(row, 0, order.get(0)));
        }
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = order.get(i);
            logprobs[i] = (float) (get(row, 0, tokens[i]) - get(row, 0, order.get(0)) - Math.log(sum));
        }
    }

    /** Tokens from the likeliest on. */
    private static List<Integer> order(Tensor logits, int row) {
        return IntStream.range(0, logits.width())
                .boxed()
                .sorted(Comparator.comparingDouble(id -> -(get(logits, row, id) + 0.0)))
                .toList();
    }

    private static int sample(Tensor logits, Draw draw) {
        int n = logits.width();
        List<Integer> order = order(logits, draw.row());
        double most = get(logits, draw.row(), order.get(0));
        if (draw.temperature() == 0) {
            return order.get(0);
        }
        double[] weights = new double[n];
        double total = 0;
        for (int id : order.subList(0, draw.topK() > 0 ? Math.min(draw.topK(), n) : n)) {
            double weight = Math.exp((get(logits, draw.row(), id) - most) / draw.temperature());
            weights[id] = weight >= draw.minP() ? weight : 0;
            total += weights[id];
        }
        double kept = 0;
        for (int id : order) {
            if (draw.topP() < 1 && kept >= draw.topP() * total) {
                weights[id] = 0;
            }
            kept += weights[id];
        }
        double left = draw.uniform() * kept;
        int chosen = -1;
        for (int id = 0; id < n && (chosen < 0 || left >= 0); id++) {
            if (weights[id] > 0) {
                chosen = id;
                left -= weights[id];
            }
        }
        return chosen;
    }

    @Override
    public Routes route(Tensor logits, @Nullable Tensor choiceBias, Router router) {
        return HostRoutes.of(logits, choiceBias, router, body -> IntStream.range(0, logits.rows())
                .forEach(body));
    }

    @Override
    public void dispatch(Tensor out, Tensor x, Routes routes) {
        gather(out, x, ((HostRoutes) routes).tokens());
    }

    @Override
    public void combine(Tensor out, Tensor x, Routes routes) {
        HostRoutes r = (HostRoutes) routes;
        for (int d = 0; d < out.width(); d++) {
            double[] sums = new double[out.rows()];
            for (int i = 0; i < x.rows(); i++) {
                sums[r.token(i)] += (double) r.weights()[r.choices()[i]] * get(x, i, d);
            }
            for (int t = 0; t < sums.length; t++) {
                set(out, t, d, sums[t]);
            }
        }
    }

    @Override
    public void countChoices(Tensor load, Routes routes) {
        ((HostRoutes) routes).count(load);
    }

    @Override
    public void close() {}
}
