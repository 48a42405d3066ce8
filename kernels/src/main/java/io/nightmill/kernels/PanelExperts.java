package io.nightmill.kernels;

import io.nightmill.kernels.PanelProducts.Rows;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A layer's experts over packed weights, in two rounds as in {@link NativeExperts}: some rows of an expert through the projections and the
 * activation, then some columns of the model for all tokens. The products, the activation and the order of the sums are those of the
 * single operations, so the bits are too.
 */
final class PanelExperts {
    /** Rows of an expert that a thread takes at a time, for which it widens the weights once. */
    private static final int ROWS = 128;
    /** Values of activations between the two rounds. */
    private static final int INNER = 1 << 20;
    /** Shares for each thread that a round has, even if they take more, while there are so many. */
    private static final int LEAST_SHARES = 8;

    private final PanelProducts products;
    private final PackedWeights packed;
    private final Lanes lanes;
    private float[] inner = new float[0];
    private final ThreadLocal<Work> work = ThreadLocal.withInitial(Work::new);

    PanelExperts(PanelProducts products, PackedWeights packed, Lanes lanes) {
        this.products = products;
        this.packed = packed;
        this.lanes = lanes;
    }

    /**
     * Up to {@value #ROWS} sorted rows of one expert.
     *
     * @param at where their activations begin, counted from those of the first share
     */
    private record Share(int expert, int from, int to, int at) {
        int count() {
            return to - from;
        }
    }

    /** A thread's own rows of an expert. */
    private static final class Work {
        private float[] tokens = new float[0];
        private float[] both = new float[0];
        private float[] h = new float[0];
        private float[] results = new float[0];
    }

    /** One round. */
    private record Call(Tensor out, Tensor x, HostRoutes routes, ExpertWeights experts, List<Share> shares) {
        /** Where a share's activations begin. */
        int place(Share share) {
            return share.at - shares.get(0).at;
        }
    }

    /** {@link Backend#experts}. Declines where a round has too few tasks for all threads, and weights that are not packed. */
    boolean apply(Tensor out, Tensor x, HostRoutes routes, ExpertWeights experts, Workers workers) {
        List<Share> shares = shares(routes.starts(), experts.inner());
        int threads = workers.threads();
        int panels = (out.width() + Panel.COLUMNS - 1) / Panel.COLUMNS;
        if (shares.size() < 2 * threads || panels < threads) {
            return false;
        }
        List<List<Matrix>> all = experts.all();
        for (Share share : shares) {
            for (List<Matrix> list : all) {
                Matrix w = list.get(share.expert);
                packed.pack(w, workers);
                if (packed.of(w) == null) {
                    return false;
                }
            }
        }
        int zero = HostBuffer.offset(out);
        Arrays.fill(HostBuffer.values(out), zero, zero + out.rows() * out.width(), 0);
        int tasks = Math.min(panels, 4 * threads);
        for (int first = 0; first < shares.size(); ) {
            int end = end(shares, first, LEAST_SHARES * threads);
            Call call = new Call(out, x, routes, experts, shares.subList(first, end));
            Share last = shares.get(end - 1);
            inner = HostBuffer.atLeast(inner, call.place(last) + values(last.count(), experts.inner()));
            workers.run(end - first, s -> project(call.shares.get(s), call));
            workers.run(tasks, t -> add(firstColumn(t, tasks, panels), firstColumn(t + 1, tasks, panels), call));
            first = end;
        }
        return true;
    }

    /** Of a task's panels. */
    private static int firstColumn(int task, int tasks, int panels) {
        return task * panels / tasks * Panel.COLUMNS;
    }

    private static List<Share> shares(int[] starts, int inside) {
        List<Share> shares = new ArrayList<>();
        int at = 0;
        for (int e = 0; e + 1 < starts.length; e++) {
            for (int from = starts[e]; from < starts[e + 1]; from += ROWS) {
                int to = Math.min(starts[e + 1], from + ROWS);
                shares.add(new Share(e, from, to, at));
                at = Math.addExact(at, values(to - from, inside));
            }
        }
        return shares;
    }

    /** Of rows in whole tiles. */
    private static int values(int rows, int width) {
        return RowTiles.whole(rows) * width;
    }

    /** The end of the round that begins with a share. */
    private static int end(List<Share> shares, int first, int least) {
        int end = first;
        while (end < shares.size() && (end - first < least || shares.get(end).at - shares.get(first).at < INNER)) {
            end++;
        }
        return end;
    }

    /** From tokens to the activation, whose rows lie in {@link #inner}. */
    private void project(Share share, Call call) {
        ExpertWeights experts = call.experts;
        int in = call.x.width();
        int width = experts.width();
        int inside = experts.inner();
        int count = share.count();
        Work mine = work.get();
        mine.tokens = HostBuffer.atLeast(mine.tokens, values(count, in));
        mine.both = HostBuffer.atLeast(mine.both, count * width);
        mine.h = HostBuffer.atLeast(mine.h, count * inside);
        for (int i = 0; i < count; i++) {
            int row = HostBuffer.offset(call.x) + call.routes.token(share.from + i) * in;
            put(HostBuffer.values(call.x), row, in, i, count, mine.tokens, 0);
        }
        Rows tokens = rows(mine.tokens, 0, in, count);
        int column = 0;
        for (int p = 0; p < experts.projections().size(); p++) {
            Matrix w = experts.projections().get(p).get(share.expert);
            multiply(tokens, w, 0, w.out(), experts.bias(p), share.expert, mine.both, column, width);
            column += w.out();
        }
        for (int i = 0; i < count; i++) {
            experts.activate(mine.both, i * width, mine.h, i * inside, lanes);
            put(mine.h, i * inside, inside, i, count, inner, call.place(share));
        }
    }

    /** Adds columns of all shares' results to their tokens. */
    private void add(int first, int end, Call call) {
        ExpertWeights experts = call.experts;
        int last = Math.min(end, call.out.width());
        int n = last - first;
        Work mine = work.get();
        mine.results = HostBuffer.atLeast(mine.results, ROWS * n);
        for (Share share : call.shares) {
            Rows rows = rows(inner, call.place(share), experts.inner(), share.count());
            Matrix down = experts.down().get(share.expert);
            multiply(rows, down, first, last, experts.downBias(), share.expert, mine.results, -first, n);
            for (int i = 0; i < share.count(); i++) {
                HostBackend.add(
                        mine.results,
                        i * n,
                        n,
                        call.routes,
                        share.from + i,
                        HostBuffer.values(call.out),
                        HostBuffer.offset(call.out) + first,
                        call.out.width(),
                        lanes);
            }
        }
    }

    /** Whether rows of a share lie in tiles; one alone meets the weights by itself. */
    private boolean tiled(int count) {
        return lanes.tiles() && count > 1;
    }

    /** Puts row {@code i} of {@code count} where {@link #rows} has it. */
    private void put(float[] x, int xo, int width, int i, int count, float[] out, int at) {
        if (tiled(count)) {
            RowTiles.put(x, xo, width, i, count, out, at);
        } else {
            System.arraycopy(x, xo, out, at + i * width, width);
        }
    }

    private Rows rows(float[] values, int at, int width, int count) {
        boolean tiled = tiled(count);
        return new Rows(values, at, width, count, tiled ? values : null, tiled ? at : 0);
    }

    private void multiply(
            Rows x, Matrix w, int first, int last, @Nullable Tensor biases, int expert, float[] out, int oo, int os) {
        products.multiply(x, packed.of(w), first, last, out, oo, os);
        HostBackend.addBias(biases, expert, first, last, x.count(), out, oo, os);
    }
}
