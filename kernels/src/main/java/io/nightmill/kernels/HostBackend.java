package io.nightmill.kernels;

import static io.nightmill.kernels.HostBuffer.offset;
import static io.nightmill.kernels.HostBuffer.values;
import static io.nightmill.tensor.Batch.PAGE_TOKENS;

import io.nightmill.kernels.PanelProducts.Rows;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;

/** The CPU: rows or output columns are handed to a team of threads, inner loops are {@link Lanes}. */
public final class HostBackend implements Backend {
    private static final int ROW_BLOCK = 64;
    /** Rows for which a task of its own reads a weight once more. */
    private static final int LEAST_ROWS = 16;
    /** Of results of experts that a task adds up. */
    private static final int COMBINED_COLUMNS = 128;

    /** Rows of an embedding that are copied at once. */
    private static final int EMBEDDED_ROWS = 256;

    private final Lanes lanes;
    private final Workers workers;
    private final HostRecurrences recurrences;
    private final HostAttention attention;
    private final @Nullable NativeMatmul products;
    private final @Nullable NativeExperts fused;
    private ByteBuffer embedded = ByteBuffer.allocate(0);
    private final ThreadLocal<float[][]> scratch = ThreadLocal.withInitial(() -> new float[2][0]);
    private final PackedWeights packed;
    private final PanelProducts panelProducts;
    private final PanelExperts panelExperts;
    private final RowTiles tiles = new RowTiles();
    private final String name;

    /** @param threads threads of one operation, the caller's included */
    public HostBackend(int threads) {
        this(threads, Lanes.best(), Products.EXACT);
    }

    HostBackend(int threads, Lanes lanes, Products arithmetic) {
        this(threads, lanes, arithmetic, null);
    }

    private HostBackend(int threads, Lanes lanes, Products arithmetic, @Nullable NativeMatmul products) {
        this.lanes = lanes;
        this.products = products;
        this.fused = products == null ? null : new NativeExperts(products, lanes);
        // Beside the library's, only four bits are worth another rounding.
        Products rounding = products == null || arithmetic == Products.INT4 ? arithmetic : Products.EXACT;
        this.packed = new PackedWeights(rounding, lanes);
        this.panelProducts = new PanelProducts(lanes);
        this.panelExperts = new PanelExperts(panelProducts, packed, lanes);
        this.name = "host-" + lanes.name() + (products != null ? "+" + products.name() : suffix(arithmetic));
        this.workers = new Workers(threads);
        this.recurrences = new HostRecurrences(lanes, workers);
        this.attention = new HostAttention(lanes, workers);
    }

    private static String suffix(Products arithmetic) {
        return arithmetic == Products.EXACT ? "" : "+" + arithmetic.name().toLowerCase(Locale.ROOT);
    }

    /**
     * Computes the large products in the given arithmetic: through oneDNN, where library and CPU allow it, else with rounded weights that
     * meet float32.
     */
    public static HostBackend of(Products arithmetic, int threads) {
        Lanes lanes = Lanes.best();
        if (arithmetic == Products.EXACT) {
            return new HostBackend(threads, lanes, arithmetic);
        }
        try {
            return new HostBackend(threads, lanes, arithmetic, new NativeMatmul(arithmetic, lanes));
        } catch (UnsupportedOperationException | LinkageError e) {
            LoggerFactory.getLogger(HostBackend.class)
                    .warn(
                            "NO NATIVE PRODUCTS for {}: {}. Weights are rounded, and widened to float32 on the way.",
                            arithmetic,
                            e.getMessage());
            return new HostBackend(threads, lanes, arithmetic);
        }
    }

    @Override
    public String name() {
        return name;
    }

    public int threads() {
        return workers.threads();
    }

    @Override
    public Buffer allocate(long values) {
        return new HostBuffer(new float[Math.toIntExact(values)]);
    }

    @Override
    public State allocate(State.Spec spec, int rows, KvType type) {
        Buffer pool = spec instanceof State.Spec.Paged paged
                ? new HostPages(paged, rows, type)
                : new HostSlots(spec.width(), rows);
        return new State(spec, new Tensor(pool, 0, rows, spec.width()));
    }

    @Override
    public void upload(Tensor out, float[] values) {
        System.arraycopy(values, 0, values(out), offset(out), out.rows() * out.width());
    }

    @Override
    public void download(Tensor in, float[] values) {
        System.arraycopy(values(in), offset(in), values, 0, in.rows() * in.width());
    }

    private float[] scratch(int which, int size) {
        float[][] mine = scratch.get();
        if (mine[which].length < size) {
            mine[which] = new float[Math.max(size, 4096)];
        }
        return mine[which];
    }

    /** Runs {@code body} for each row; few long rows or many short ones make a similar number of tasks. */
    private void eachRow(int rows, int width, IntConsumer body) {
        int perTask = Math.max(1, Math.max(8192 / Math.max(1, width), (rows + 31) / 32));
        workers.run((rows + perTask - 1) / perTask, task -> {
            for (int row = task * perTask; row < Math.min(rows, (task + 1) * perTask); row++) {
                body.accept(row);
            }
        });
    }

    @Override
    public void gather(Tensor out, Tensor in, int[] rows) {
        int width = in.width();
        eachRow(
                rows.length,
                width,
                i -> System.arraycopy(
                        values(in), offset(in) + rows[i] * width, values(out), offset(out) + i * width, width));
    }

    @Override
    public void copyRows(State state, int from, int to, int count) {
        Tensor pool = state.pool();
        if (pool.buffer() instanceof HostPages pages) {
            for (int i = 0; i < count / PAGE_TOKENS; i++) {
                pages.reserve(to / PAGE_TOKENS + i);
                pages.copy(from / PAGE_TOKENS + i, to / PAGE_TOKENS + i);
            }
            return;
        }
        for (int i = 0; i < count; i++) {
            ((HostSlots) pool.buffer()).copy(from + i, to + i);
        }
    }

    @Override
    public void copyColumns(Tensor out, int outColumn, Tensor in, int inColumn, int count) {
        eachRow(
                in.rows(),
                count,
                i -> System.arraycopy(
                        values(in),
                        offset(in) + i * in.width() + inColumn,
                        values(out),
                        offset(out) + i * out.width() + outColumn,
                        count));
    }

    @Override
    public void embed(Tensor out, Matrix table, int[] ids, float scale) {
        int bytes = table.rowBytes();
        Matrix[] rows = new Matrix[Math.min(EMBEDDED_ROWS, ids.length)];
        if (embedded.capacity() < rows.length * bytes) {
            embedded = ByteBuffer.allocate(rows.length * bytes);
        }
        for (int from = 0; from < ids.length; from += EMBEDDED_ROWS) {
            int first = from;
            int count = Math.min(EMBEDDED_ROWS, ids.length - from);
            for (int i = 0; i < count; i++) {
                // Copies, since a mapped table would come to lie in memory as a whole, and one after the other, since
                // threads would wait for one another at the file.
                rows[i] = table.copy(ids[first + i], 1, embedded.slice(i * bytes, bytes));
            }
            eachRow(count, table.in(), i -> {
                int at = offset(out) + (first + i) * out.width();
                Unpack.row(rows[i], 0, values(out), at);
                for (int d = at; scale != 1 && d < at + table.in(); d++) {
                    values(out)[d] *= scale;
                }
            });
        }
    }

    /** Output columns {@code first .. last} of {@code x w^T}, whole panels where the weight is packed. */
    private void product(Rows x, Matrix w, int first, int last, float[] out, int oo, int os) {
        Panel[] panels = packed.of(w);
        if (panels != null) {
            panelProducts.multiply(x, panels, first, last, out, oo, os);
            return;
        }
        for (int block = 0; block < x.count(); block += ROW_BLOCK) {
            int m = Math.min(ROW_BLOCK, x.count() - block);
            int xo = x.offset() + block * x.stride();
            int at = oo + block * os;
            for (int row = first; row < last; ) {
                int n = Math.min(4, Math.min(last, (row / w.panelRows() + 1) * w.panelRows()) - row);
                float[] unpacked = scratch(0, 4 * w.in());
                for (int j = 0; j < n; j++) {
                    Unpack.row(w, row + j, unpacked, j * w.in());
                }
                lanes.dots(x.values(), xo, x.stride(), m, unpacked, 0, w.in(), n, w.in(), out, at + row, os);
                row += n;
            }
        }
    }

    /** Adds a group's biases, where there are any, to the outputs {@code first .. last} of some rows. */
    static void addBias(
            @Nullable Tensor biases, int group, int first, int last, int rows, float[] out, int oo, int os) {
        if (biases == null) {
            return;
        }
        float[] bias = values(biases);
        int bo = offset(biases) + group * biases.width();
        for (int i = 0; i < rows; i++) {
            for (int n = first; n < last; n++) {
                out[oo + i * os + n] += bias[bo + n];
            }
        }
    }

    /** Columns per task: about four tasks per thread, whole tiles. */
    private int columnsPerTask(int columns) {
        int share = columns / (4 * workers.threads());
        int panel = Panel.COLUMNS;
        return Math.max(panel, (share + panel - 1) / panel * panel);
    }

    @Override
    public void matmul(Tensor x, @Nullable Routes routes, List<Product> all) {
        int[] starts = HostRoutes.starts(routes, x.rows());
        for (Product product : all) {
            requireProduct(product.out(), product.column(), x, product.weights().get(0));
        }
        NativeMatmul library = products;
        if (library == null) {
            widened(x, starts, all);
            return;
        }
        Map<Boolean, List<Product>> served = all.stream()
                .collect(Collectors.partitioningBy(
                        product -> NativeMatmul.serves(product.weights().get(0))));
        if (!served.get(true).isEmpty()) {
            library.multiply(values(x), offset(x), x.width(), starts, served.get(true), workers);
        }
        if (!served.get(false).isEmpty()) {
            widened(x, starts, served.get(false));
        }
    }

    /** Products in float32, with weights widened on the way. */
    private void widened(Tensor x, int[] starts, List<Product> all) {
        List<Runnable> tasks = new ArrayList<>();
        if (lanes.tiles()) {
            tiles.lay(values(x), offset(x), x.width(), starts, x.width(), workers);
        }
        for (Product product : all) {
            int groups = product.weights().size();
            int columns = columnsPerTask(product.weights().get(0).out() * Math.max(1, groups / 8));
            for (int g = 0; g < groups; g++) {
                if (starts[g] < starts[g + 1]) {
                    packed.pack(product.weights().get(g), workers);
                    addTasks(tasks, product, g, x, starts[g], starts[g + 1], columns);
                }
            }
        }
        workers.run(tasks.size(), task -> tasks.get(task).run());
    }

    private void addTasks(List<Runnable> tasks, Product product, int group, Tensor x, int from, int to, int columns) {
        Matrix w = product.weights().get(group);
        Tensor out = product.out();
        int each = rowsPerTask(to - from, product.weights().size() * ((w.out() + columns - 1) / columns));
        for (int row = from; row < to; row += each) {
            int count = Math.min(each, to - row);
            boolean tiled = lanes.tiles();
            Rows mine = new Rows(
                    values(x),
                    offset(x) + row * x.width(),
                    x.width(),
                    count,
                    tiled ? tiles.values() : null,
                    tiled ? tiles.place(group, row - from) : 0);
            int at = offset(out) + row * out.width() + product.column();
            for (int n = 0; n < w.out(); n += columns) {
                int first = n;
                int last = Math.min(w.out(), n + columns);
                tasks.add(() -> {
                    product(mine, w, first, last, values(out), at, out.width());
                    addBias(product.biases(), group, first, last, count, values(out), at, out.width());
                });
            }
        }
    }

    /** All rows, unless a narrow weight, such as a router's, would leave threads without a task. */
    private int rowsPerTask(int rows, int tasks) {
        int parts = Math.max(1, Math.min(rows / LEAST_ROWS, 4 * workers.threads() / tasks));
        int each = (rows + parts - 1) / parts;
        return RowTiles.whole(each);
    }

    private static void requireProduct(Tensor out, int column, Tensor x, Matrix w) {
        if (x.width() != w.in() || out.rows() != x.rows() || column + w.out() > out.width()) {
            throw new IllegalArgumentException("Cannot multiply %s by %s into %s at column %d"
                    .formatted(x.shape(), w.shape(), out.shape(), column));
        }
    }

    @Override
    public void headMatmul(Tensor out, Tensor x, List<Matrix> heads) {
        int xStride = x.width() / heads.size();
        int oStride = out.width() / heads.size();
        heads.forEach(w -> packed.pack(w, workers));
        workers.run(heads.size(), h -> {
            Rows rows = new Rows(values(x), offset(x) + h * xStride, x.width(), x.rows(), null, 0);
            Matrix w = heads.get(h);
            product(rows, w, 0, w.out(), values(out), offset(out) + h * oStride, out.width());
        });
    }

    @Override
    public void rmsNorm(Tensor out, Tensor x, @Nullable Tensor weight, float eps) {
        int n = x.width();
        eachRow(x.rows(), n, i -> {
            float[] v = values(x);
            float[] o = values(out);
            int from = offset(x) + i * n;
            int to = offset(out) + i * n;
            float scale = (float) (1 / Math.sqrt(lanes.sumOfSquares(v, from, n) / n + eps));
            if (weight == null) {
                for (int d = 0; d < n; d++) {
                    o[to + d] = v[from + d] * scale;
                }
            } else {
                float[] w = values(weight);
                int wo = offset(weight) + i % weight.rows() * n;
                for (int d = 0; d < n; d++) {
                    o[to + d] = v[from + d] * scale * w[wo + d];
                }
            }
        });
    }

    @Override
    public void layerNorm(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, float eps) {
        int n = x.width();
        eachRow(x.rows(), n, i -> {
            float[] v = values(x);
            float[] o = values(out);
            int from = offset(x) + i * n;
            int to = offset(out) + i * n;
            double sum = 0;
            for (int d = 0; d < n; d++) {
                sum += v[from + d];
            }
            float mean = (float) (sum / n);
            double squares = 0;
            for (int d = 0; d < n; d++) {
                squares += (double) (v[from + d] - mean) * (v[from + d] - mean);
            }
            float scale = (float) (1 / Math.sqrt(squares / n + eps));
            for (int d = 0; d < n; d++) {
                int w = i % weight.rows() * n + d;
                float y = (v[from + d] - mean) * scale * values(weight)[offset(weight) + w];
                o[to + d] = bias == null ? y : y + values(bias)[offset(bias) + w];
            }
        });
    }

    @Override
    public void add(Tensor out, Tensor x, Tensor y, float scale) {
        int n = x.width();
        eachRow(x.rows(), n, i -> {
            float[] o = values(out);
            float[] a = values(x);
            float[] b = values(y);
            int oo = offset(out) + i * n;
            int ao = offset(x) + i * n;
            int bo = offset(y) + i % y.rows() * n;
            for (int d = 0; d < n; d++) {
                o[oo + d] = a[ao + d] + scale * b[bo + d];
            }
        });
    }

    @Override
    public void multiply(Tensor out, Tensor x, Tensor y) {
        int n = x.width();
        eachRow(x.rows(), n, i -> {
            float[] o = values(out);
            float[] a = values(x);
            float[] b = values(y);
            int oo = offset(out) + i * n;
            int ao = offset(x) + i * n;
            int bo = offset(y) + i % y.rows() * y.width();
            if (y.width() == 1) {
                scaled(o, oo, a, ao, b[bo], n);
                return;
            }
            for (int d = 0; d < n; d++) {
                o[oo + d] = a[ao + d] * b[bo + d];
            }
        });
    }

    private static void scaled(float[] out, int oo, float[] x, int xo, float factor, int n) {
        for (int d = 0; d < n; d++) {
            out[oo + d] = x[xo + d] * factor;
        }
    }

    @Override
    public void scale(Tensor out, Tensor x, float factor) {
        int n = x.width();
        eachRow(x.rows(), n, i -> scaled(values(out), offset(out) + i * n, values(x), offset(x) + i * n, factor, n));
    }

    @Override
    public void mix(Tensor out, Tensor x, Tensor y, Tensor mix) {
        int n = x.width();
        eachRow(x.rows(), n, i -> {
            float[] o = values(out);
            float[] a = values(x);
            float[] b = values(y);
            float[] m = values(mix);
            int oo = offset(out) + i * n;
            int ao = offset(x) + i * n;
            int bo = offset(y) + i * n;
            int mo = offset(mix) + i % mix.rows() * n;
            for (int d = 0; d < n; d++) {
                o[oo + d] = a[ao + d] + (b[bo + d] - a[ao + d]) * m[mo + d];
            }
        });
    }

    @Override
    public void dotRows(Tensor out, Tensor x, Tensor y) {
        int n = x.width();
        eachRow(
                x.rows(),
                n,
                i -> lanes.dots(
                        values(x),
                        offset(x) + i * n,
                        n,
                        1,
                        values(y),
                        offset(y) + i * n,
                        n,
                        1,
                        n,
                        values(out),
                        offset(out) + i,
                        1));
    }

    @Override
    public void softmax(Tensor out, Tensor x) {
        int n = x.width();
        eachRow(x.rows(), n, i -> {
            int from = offset(x) + i * n;
            int to = offset(out) + i * n;
            float max = Float.NEGATIVE_INFINITY;
            for (int d = 0; d < n; d++) {
                max = Math.max(max, values(x)[from + d]);
            }
            System.arraycopy(values(x), from, values(out), to, n);
            float sum = lanes.expSum(values(out), to, n, max);
            scaled(values(out), to, values(out), to, 1 / sum, n);
        });
    }

    @Override
    public void activate(Tensor out, Tensor x, Activation activation) {
        int n = x.width();
        eachRow(
                x.rows(),
                n,
                i -> lanes.activate(activation, values(x), offset(x) + i * n, values(out), offset(out) + i * n, n));
    }

    @Override
    public void glu(Tensor out, Tensor x, Glu glu) {
        int n = out.width();
        eachRow(out.rows(), n, i -> {
            int from = offset(x) + i * 2 * n;
            glu(glu, values(x), from, values(out), offset(out) + i * n, n, lanes);
        });
    }

    /** A row of {@code n} outputs. */
    static void glu(Glu glu, float[] in, int from, float[] out, int to, int n, Lanes lanes) {
        if (glu.limit() > 0) {
            int step = glu.interleaved() ? 2 : 1;
            int up = glu.interleaved() ? 1 : n;
            for (int d = 0; d < n; d++) {
                float g = Math.min(in[from + d * step], glu.limit());
                float u = Math.max(-glu.limit(), Math.min(in[from + d * step + up], glu.limit()));
                out[to + d] = (u + 1) * g * ScalarLanes.sigmoid(glu.alpha() * g);
            }
        } else if (glu.interleaved()) {
            for (int d = 0; d < n; d++) {
                out[to + d] = ScalarLanes.apply(glu.activation(), in[from + 2 * d]) * in[from + 2 * d + 1];
            }
        } else {
            lanes.activate(glu.activation(), in, from, out, to, n);
            lanes.multiply(out, to, in, from + n, n);
        }
    }

    @Override
    public void clamp(Tensor x, float low, float high) {
        eachRow(x.rows(), x.width(), i -> {
            for (int at = offset(x) + i * x.width(); at < offset(x) + (i + 1) * x.width(); at++) {
                values(x)[at] = Math.max(low, Math.min(values(x)[at], high));
            }
        });
    }

    @Override
    public void softcap(Tensor x, float cap) {
        eachRow(x.rows(), x.width(), i -> {
            int at = offset(x) + i * x.width();
            for (int d = 0; d < x.width(); d++) {
                values(x)[at + d] = cap * (float) Math.tanh(values(x)[at + d] / cap);
            }
        });
    }

    @Override
    public void rotary(Tensor table, Batch batch, int from, int to, float[] frequencies, float factor, int period) {
        int half = frequencies.length;
        int[] positions = batch.positions();
        eachRow(to - from, 2 * half, i -> {
            int position = period == 0 ? positions[from + i] : positions[from + i] % period;
            int at = offset(table) + (from + i) * table.width();
            for (int d = 0; d < half; d++) {
                float angle = frequencies[d] * position;
                values(table)[at + d] = (float) Math.cos(angle) * factor;
                values(table)[at + half + d] = (float) Math.sin(angle) * factor;
            }
        });
    }

    @Override
    public void started(Tensor out, Batch batch) {
        Arrays.fill(values(out), offset(out), offset(out) + batch.size(), 1);
        batch.spans().stream()
                .filter(span -> span.past() == 0)
                .forEach(span -> values(out)[offset(out) + span.first()] = 0);
    }

    @Override
    public void rope(Tensor x, Tensor table, int stride, int offset, boolean interleaved) {
        eachRow(x.rows(), x.width(), i -> {
            for (int head = 0; head < x.width(); head += stride) {
                rotate(values(x), offset(x) + i * x.width() + head + offset, table, i, interleaved);
            }
        });
    }

    private static void rotate(float[] x, int at, Tensor table, int row, boolean interleaved) {
        float[] t = values(table);
        int half = table.width() / 2;
        int cosines = offset(table) + row * table.width();
        for (int d = 0; d < half; d++) {
            int a = interleaved ? at + 2 * d : at + d;
            int b = interleaved ? a + 1 : a + half;
            float cos = t[cosines + d];
            float sin = t[cosines + half + d];
            float u = x[a];
            float v = x[b];
            x[a] = u * cos - v * sin;
            x[b] = v * cos + u * sin;
        }
    }

    @Override
    public void append(State state, Tensor rows, Batch batch) {
        HostPages pages = (HostPages) state.pool().buffer();
        List<Filled> filled = new ArrayList<>();
        for (Batch.Span span : batch.spans()) {
            int end = span.past() + span.count();
            for (int from = span.past(); from < end; ) {
                int to = Math.min(end, (from / PAGE_TOKENS + 1) * PAGE_TOKENS);
                pages.reserve(span.pages()[from / PAGE_TOKENS]);
                filled.add(new Filled(span, from, to));
                from = to;
            }
        }
        int each = batch.size() / Math.max(1, filled.size());
        eachRow(filled.size(), rows.width() * each, f -> {
            Batch.Span span = filled.get(f).span;
            for (int position = filled.get(f).from; position < filled.get(f).to; position++) {
                int from = offset(rows) + (span.first() + position - span.past()) * rows.width();
                pages.append(span.pages()[position / PAGE_TOKENS], position % PAGE_TOKENS, values(rows), from);
            }
        });
    }

    /** Positions of a sequence that are in one page: tokens of a page may share words. */
    private record Filled(Batch.Span span, int from, int to) {}

    @Override
    public void attend(Tensor out, Tensor query, State keys, State values, Attention a, Batch batch) {
        attention.attend(out, query, keys, values, a, batch);
    }

    @Override
    public void causalConv(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, State tail, Batch batch) {
        recurrences.causalConv(out, x, weight, bias, tail, batch);
    }

    @Override
    public void shift(Tensor out, Tensor x, State last, Batch batch) {
        recurrences.shift(out, x, last, batch);
    }

    @Override
    public void scan(Tensor out, Tensor decay, Tensor x, State state, Batch batch) {
        recurrences.scan(out, decay, x, state, batch);
    }

    @Override
    public void selectiveScan(Tensor out, Tensor x, Tensor dt, Tensor a, Tensor b, Tensor c, State state, Batch batch) {
        recurrences.selectiveScan(out, x, dt, a, b, c, state, batch);
    }

    @Override
    public void recur(Tensor out, Update update, Recurrence recurrence, State state, Batch batch) {
        recurrences.recur(out, update, recurrence, state, batch);
    }

    @Override
    public void recurByLevel(
            Tensor out, Update update, Tensor weights, Recurrence recurrence, State state, Batch batch) {
        recurrences.recurByLevel(out, update, weights, recurrence, state, batch);
    }

    @Override
    public void regress(Tensor out, Update update, Tensor ridge, State state, Batch batch) {
        recurrences.regress(out, update, ridge, state, batch);
    }

    @Override
    public void trainAndRead(
            Tensor out,
            Tensor query,
            Tensor key,
            Tensor value,
            Tensor rate,
            FastWeights model,
            State state,
            Batch batch) {
        recurrences.trainAndRead(out, query, key, value, rate, model, state, batch);
    }

    @Override
    public void pick(Picks out, Tensor logits, int[] targets) {
        int n = logits.width();
        workers.run(targets.length, i -> {
            float[] x = values(logits);
            int from = offset(logits) + i * n;
            int best = best(x, from, n);
            int token = targets[i] < 0 ? best : targets[i];
            float[] copy = scratch(1, n);
            System.arraycopy(x, from, copy, 0, n);
            float max = x[from + best];
            double logSum = max + Math.log(lanes.expSum(copy, 0, n, max));
            out.tokens()[i] = token;
            out.logprobs()[i] = (float) (x[from + token] - logSum);
            out.ranks()[i] = token == best ? 1 : rank(x, from, n, token);
        });
    }

    @Override
    public void sample(int[] tokens, Tensor logits, List<Draw> draws) {
        int n = logits.width();
        workers.run(tokens.length, i -> {
            Draw draw = draws.get(i);
            int from = offset(logits) + draw.row() * n;
            tokens[i] = HostSampler.draw(values(logits), from, n, draw, scratch(1, n), lanes);
        });
    }

    @Override
    public void edit(Tensor out, Tensor logits, List<Edit> edits) {
        int n = logits.width();
        workers.run(edits.size(), i -> {
            Edit edit = edits.get(i);
            float[] from = values(logits);
            int at = offset(logits) + edit.row() * n;
            float[] to = values(out);
            int row = offset(out) + i * n;
            if (edit.only()) {
                Arrays.fill(to, row, row + n, Float.NEGATIVE_INFINITY);
            } else {
                System.arraycopy(from, at, to, row, n);
            }
            for (int k = 0; k < edit.ids().length; k++) {
                int id = edit.ids()[k];
                to[row + id] = edit.changed(from[at + id], k);
            }
        });
    }

    @Override
    public void top(int[] tokens, float[] logprobs, Tensor row) {
        HostSampler.top(this, row, values(row), offset(row), tokens, logprobs);
    }

    /** The place of the largest of {@code n} values; of equal ones the first. */
    static int best(float[] x, int from, int n) {
        int best = 0;
        for (int d = 1; d < n; d++) {
            if (x[from + d] > x[from + best]) {
                best = d;
            }
        }
        return best;
    }

    static int rank(float[] x, int from, int n, int token) {
        int rank = 1;
        for (int d = 0; d < n; d++) {
            if (x[from + d] > x[from + token] || x[from + d] == x[from + token] && d < token) {
                rank++;
            }
        }
        return rank;
    }

    @Override
    public Routes route(Tensor logits, @Nullable Tensor choiceBias, Router router) {
        return HostRoutes.of(logits, choiceBias, router, body -> eachRow(logits.rows(), logits.width(), body));
    }

    @Override
    public void dispatch(Tensor out, Tensor x, Routes routes) {
        gather(out, x, ((HostRoutes) routes).tokens());
    }

    @Override
    public boolean experts(Tensor out, Tensor x, Routes routes, ExpertWeights experts) {
        HostRoutes chosen = (HostRoutes) routes;
        if (fused != null && fused.apply(out, x, chosen, experts, workers)) {
            return true;
        }
        // What the library serves is not packed as well.
        boolean served = fused != null && experts.all().stream().anyMatch(list -> NativeMatmul.serves(list.get(0)));
        return !served && panelExperts.apply(out, x, chosen, experts, workers);
    }

    @Override
    public void combine(Tensor out, Tensor x, Routes routes) {
        HostRoutes r = (HostRoutes) routes;
        int n = out.width();
        workers.run((n + COMBINED_COLUMNS - 1) / COMBINED_COLUMNS, task -> {
            int first = task * COMBINED_COLUMNS;
            int count = Math.min(COMBINED_COLUMNS, n - first);
            for (int t = 0; t < out.rows(); t++) {
                int to = offset(out) + t * n + first;
                Arrays.fill(values(out), to, to + count, 0);
            }
            for (int i = 0; i < x.rows(); i++) {
                add(values(x), offset(x) + i * n + first, count, r, i, values(out), offset(out) + first, n, lanes);
            }
        });
    }

    /** Adds columns of a sorted row's result, by its weight, to its token's. */
    static void add(
            float[] x, int xo, int columns, HostRoutes routes, int row, float[] out, int oo, int os, Lanes lanes) {
        int to = oo + routes.token(row) * os;
        lanes.weighted(routes.weights(), routes.choices()[row], 1, 1, x, xo, columns, 1, columns, out, to, os);
    }

    @Override
    public void countChoices(Tensor load, Routes routes) {
        ((HostRoutes) routes).count(load);
    }

    @Override
    public void close() {
        workers.close();
    }
}
