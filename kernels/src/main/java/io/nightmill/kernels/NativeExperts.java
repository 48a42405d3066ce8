package io.nightmill.kernels;

import io.nightmill.kernels.NativeMatmul.Source;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A layer's experts through oneDNN: a thread takes some rows of an expert through all of it, in its own caches. The products
 * and the activation are those of the single operations, so the bits are too.
 */
final class NativeExperts {
    private final NativeMatmul products;
    private final Lanes lanes;
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
        private final Source inner = new Source();
        private float[] both = new float[0];
        private float[] h = new float[0];

        void reserve(int in, int width, int inside) {
            int rows = NativeShape.ROWS;
            tokens.reserve(rows, in);
            inner.reserve(rows, inside);
            if (both.length < rows * width) {
                both = new float[rows * width];
            }
            if (h.length < rows * inside) {
                h = new float[rows * inside];
            }
        }
    }

    /** {@link Backend#experts}. Declines where there are too few shares for all threads, and weights that oneDNN does not serve. */
    boolean apply(Tensor out, Tensor x, HostRoutes routes, ExpertWeights experts, Workers workers) {
        List<List<Matrix>> all = new ArrayList<>(experts.projections());
        all.add(experts.down());
        if (!all.stream().allMatch(list -> NativeMatmul.serves(list.get(0)))) {
            return false;
        }
        List<Share> shares = new ArrayList<>();
        int[] starts = routes.starts();
        for (int e = 0; e + 1 < starts.length; e++) {
            for (int from = starts[e]; from < starts[e + 1]; from += NativeShape.ROWS) {
                shares.add(new Share(e, from, Math.min(starts[e + 1], from + NativeShape.ROWS)));
            }
        }
        if (shares.size() < 2 * workers.threads()) {
            return false;
        }
        for (Share share : shares) {
            all.forEach(list -> products.weight(list.get(share.expert), workers));
        }
        Source tokens =
                products.bring(HostBuffer.values(x), HostBuffer.offset(x), x.width(), x.rows(), x.width(), workers);
        workers.run(shares.size(), s -> run(shares.get(s), out, tokens, x.width(), routes, experts));
        return true;
    }

    private void run(Share share, Tensor out, Source tokens, int in, HostRoutes routes, ExpertWeights experts) {
        int expert = share.expert;
        int count = share.to - share.from;
        int inner = experts.inner();
        int width = experts.width();
        boolean hasGate = experts.hasGate();
        Work mine = work.get();
        mine.reserve(in, width, inner);
        for (int i = 0; i < count; i++) {
            mine.tokens.copy(i, tokens, routes.token()[share.from + i], in);
        }
        int column = 0;
        for (int p = 0; p < experts.projections().size(); p++) {
            Matrix w = experts.projections().get(p).get(expert);
            Tensor bias = experts.biases().isEmpty() ? null : experts.biases().get(p);
            products.multiply(mine.tokens, count, w, bias, expert, mine.both, column, width);
            column += w.out();
        }
        for (int i = 0; i < count; i++) {
            if (hasGate) {
                HostBackend.glu(experts.glu(), mine.both, i * width, mine.h, i * inner, inner, lanes);
            } else {
                lanes.activate(experts.glu().activation(), mine.both, i * width, mine.h, i * inner, inner);
            }
            products.bring(mine.inner, i, mine.h, i * inner, inner);
        }
        int to = HostBuffer.offset(out) + share.from * out.width();
        Matrix down = experts.down().get(expert);
        products.multiply(mine.inner, count, down, experts.downBias(), expert, HostBuffer.values(out), to, out.width());
    }
}
