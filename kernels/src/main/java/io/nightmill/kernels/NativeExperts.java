package io.nightmill.kernels;

import io.nightmill.kernels.NativeMatmul.Chunk;
import io.nightmill.kernels.NativeMatmul.Source;
import io.nightmill.kernels.NativeMatmul.Weight;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A layer's experts through oneDNN. A thread takes some rows of an expert through the projections and the activation, in its own
 * caches; then a thread takes some columns of the model and adds all experts' results to their tokens, which nobody else
 * writes to. The products, the activation and the order of the sums are those of the single operations, so the bits are too.
 */
final class NativeExperts {
    /** Bytes of activations between the two rounds. */
    private static final int INNER_BYTES = 1 << 22;
    /** Shares for each thread that a round has, even if they take more, while there are so many. */
    private static final int LEAST_SHARES = 8;
    /** Tokens that are worth reading the last weights once more for. */
    private static final int LEAST_TOKENS = 256;

    private final NativeMatmul products;
    private final Lanes lanes;
    private final Source inner = new Source();
    private final ThreadLocal<Work> work = ThreadLocal.withInitial(Work::new);

    NativeExperts(NativeMatmul products, Lanes lanes) {
        this.products = products;
        this.lanes = lanes;
    }

    /** Up to 64 sorted rows of one expert. */
    private record Share(int expert, int from, int to) {}

    /** A thread's own rows of an expert. */
    private static final class Work {
        private final Source tokens = new Source();
        private float[] both = new float[0];
        private float[] h = new float[0];
        private float[] results = new float[0];

        void reserve(int in, int width, int inside) {
            tokens.reserve(NativeShape.ROWS, in);
            both = HostBuffer.atLeast(both, NativeShape.ROWS * width);
            h = HostBuffer.atLeast(h, NativeShape.ROWS * inside);
        }
    }

    /** One call of {@link #apply}. */
    private record Call(Tensor out, HostRoutes routes, ExpertWeights experts, Source tokens, int in) {}

    /** {@link Backend#experts}. Declines where a round has too few tasks for all threads, and weights that oneDNN does not serve. */
    boolean apply(Tensor out, Tensor x, HostRoutes routes, ExpertWeights experts, Workers workers) {
        List<List<Matrix>> all = experts.all();
        if (!all.stream().allMatch(list -> NativeMatmul.serves(list.get(0)))) {
            return false;
        }
        List<Share> shares = shares(routes.starts());
        int threads = workers.threads();
        if (shares.size() < 2 * threads) {
            return false;
        }
        Matrix down = experts.down().get(shares.get(0).expert);
        int chunks = products.weight(down, workers).chunks().size();
        int parts = Math.max(1, Math.min(x.rows() / LEAST_TOKENS, 2 * threads / chunks));
        if (chunks * parts < threads) {
            return false;
        }
        for (Share share : shares) {
            all.forEach(list -> products.weight(list.get(share.expert), workers));
        }
        Source tokens =
                products.bring(HostBuffer.values(x), HostBuffer.offset(x), x.width(), x.rows(), x.width(), workers);
        Call call = new Call(out, routes, experts, tokens, x.width());
        int most = Math.max(LEAST_SHARES * threads, INNER_BYTES / (2 * experts.inner() * NativeShape.ROWS));
        int zero = HostBuffer.offset(out);
        Arrays.fill(HostBuffer.values(out), zero, zero + out.rows() * out.width(), 0);
        for (int from = 0; from < shares.size(); from += most) {
            List<Share> some = shares.subList(from, Math.min(shares.size(), from + most));
            int first = some.get(0).from;
            inner.reserve(some.get(some.size() - 1).to - first, experts.inner());
            workers.run(some.size(), s -> project(some.get(s), first, call));
            workers.run(chunks * parts, task -> {
                int part = task / chunks;
                int rows = x.rows();
                add(some, first, task % chunks, rows * part / parts, rows * (part + 1) / parts, call);
            });
        }
        return true;
    }

    private static List<Share> shares(int[] starts) {
        List<Share> shares = new ArrayList<>();
        for (int e = 0; e + 1 < starts.length; e++) {
            for (int from = starts[e]; from < starts[e + 1]; from += NativeShape.ROWS) {
                shares.add(new Share(e, from, Math.min(starts[e + 1], from + NativeShape.ROWS)));
            }
        }
        return shares;
    }

    /** From tokens to the activation, whose rows lie in {@link #inner} from {@code first} on. */
    private void project(Share share, int first, Call call) {
        ExpertWeights experts = call.experts;
        int expert = share.expert;
        int count = share.to - share.from;
        int inside = experts.inner();
        int width = experts.width();
        Work mine = work.get();
        mine.reserve(call.in, width, inside);
        for (int i = 0; i < count; i++) {
            mine.tokens.copy(i, call.tokens, call.routes.token(share.from + i), call.in);
        }
        int column = 0;
        for (int p = 0; p < experts.projections().size(); p++) {
            Matrix w = experts.projections().get(p).get(expert);
            products.multiply(mine.tokens, count, w, experts.bias(p), expert, mine.both, column, width);
            column += w.out();
        }
        for (int i = 0; i < count; i++) {
            experts.activate(mine.both, i * width, mine.h, i * inside, lanes);
            products.bring(inner, share.from - first + i, mine.h, i * inside, inside);
        }
    }

    /** Adds the results of shares, a chunk's columns of them, to the tokens of a range. */
    private void add(List<Share> shares, int first, int chunk, int fromToken, int toToken, Call call) {
        ExpertWeights experts = call.experts;
        HostRoutes routes = call.routes;
        Work mine = work.get();
        for (Share share : shares) {
            int from = firstOf(fromToken, share.from, share.to, routes);
            int to = firstOf(toToken, from, share.to, routes);
            if (from == to) {
                continue;
            }
            Weight weight = products.prepared(experts.down().get(share.expert));
            Chunk columns = weight.chunks().get(chunk);
            int n = columns.end() - columns.first();
            mine.results = HostBuffer.atLeast(mine.results, NativeShape.ROWS * n);
            products.multiply(
                    inner,
                    from - first,
                    to - from,
                    weight,
                    columns,
                    experts.downBias(),
                    share.expert,
                    mine.results,
                    -columns.first(),
                    n);
            for (int i = from; i < to; i++) {
                int at = HostBuffer.offset(call.out) + columns.first();
                HostBackend.add(
                        mine.results,
                        (i - from) * n,
                        n,
                        routes,
                        i,
                        HostBuffer.values(call.out),
                        at,
                        call.out.width(),
                        lanes);
            }
        }
    }

    /** The first sorted row of a share whose token is not before one. */
    private static int firstOf(int token, int from, int to, HostRoutes routes) {
        int row = from;
        while (row < to && routes.token(row) < token) {
            row++;
        }
        return row;
    }
}
