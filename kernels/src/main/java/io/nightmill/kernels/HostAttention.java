package io.nightmill.kernels;

import static io.nightmill.kernels.HostBuffer.offset;
import static io.nightmill.kernels.HostBuffer.values;
import static io.nightmill.tensor.Batch.PAGE_TOKENS;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.State;
import io.nightmill.tensor.State.Spec.Role;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Softmax attention over pages in one pass (Milakov and Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135):
 * tiles of {@value #TILE} keys at absolute positions, each meeting all queries that see it, with a running maximum and sum per
 * query. Sequences that share pages read them together (cascade attention, Ye et al. 2024). A query's own additions are the
 * same whatever it is computed with.
 */
final class HostAttention {
    private static final int TILE_PAGES = 4;
    private static final int TILE = TILE_PAGES * PAGE_TOKENS;
    /** Rows of queries, tokens times heads, that are computed together. */
    private static final int ROWS = 64;

    private final Lanes lanes;
    private final Workers workers;
    private final ThreadLocal<float[][]> scratch = ThreadLocal.withInitial(() -> new float[SCRATCHES][0]);

    private static final int SCRATCHES = 8;
    private static final int QUERY = 0;
    private static final int SUMS = 1;
    private static final int SCORES = 2;
    private static final int MAX = 3;
    private static final int TOTAL = 4;
    private static final int KEYS = 5;
    private static final int VALUES = 6;
    private static final int TURNED = 7;

    HostAttention(Lanes lanes, Workers workers) {
        this.lanes = lanes;
        this.workers = workers;
    }

    private float[] scratch(int which, int size) {
        float[][] mine = scratch.get();
        if (mine[which].length < size) {
            mine[which] = new float[size];
        }
        return mine[which];
    }

    /** Tokens {@code from .. from + count} of a span. */
    private record Piece(Batch.Span span, int from, int count) {
        int last() {
            return span.past() + from + count - 1;
        }

        int pages() {
            return last() / PAGE_TOKENS + 1;
        }

        int pagesOf(int tile) {
            return Math.min(pages(), (tile + 1) * TILE_PAGES);
        }

        boolean sharesTile(Piece that, int tile) {
            int from = tile * TILE_PAGES;
            return Arrays.equals(span.pages(), from, pagesOf(tile), that.span.pages(), from, that.pagesOf(tile));
        }
    }

    void attend(Tensor out, Tensor query, State keys, State values, Attention attention, Batch batch) {
        List<List<Piece>> blocks = blocks(batch, attention.heads() / attention.kvHeads());
        workers.run(blocks.size() * attention.kvHeads(), task -> {
            List<Piece> pieces = blocks.get(task / attention.kvHeads());
            new Block(out, query, keys, values, attention, pieces, task % attention.kvHeads()).run();
        });
    }

    /** What is computed together: a piece of a prompt, or sequences with few tokens that share their first tile. */
    private static List<List<Piece>> blocks(Batch batch, int group) {
        int most = Math.max(1, ROWS / group);
        List<List<Piece>> blocks = new ArrayList<>();
        List<Piece> few = new ArrayList<>();
        for (Batch.Span span : batch.spans()) {
            if (2 * span.count() <= most) {
                few.add(new Piece(span, 0, span.count()));
                continue;
            }
            for (int from = 0; from < span.count(); from += most) {
                blocks.add(List.of(new Piece(span, from, Math.min(most, span.count() - from))));
            }
        }
        // In the order of their pages, sequences with a common beginning are neighbours.
        few.sort((a, b) -> Arrays.compare(a.span.pages(), 0, a.pages(), b.span.pages(), 0, b.pages()));
        List<Piece> block = new ArrayList<>();
        int tokens = 0;
        for (Piece piece : few) {
            boolean joins = !block.isEmpty() && tokens + piece.count <= most && piece.sharesTile(block.get(0), 0);
            if (!joins) {
                block = new ArrayList<>();
                tokens = 0;
                blocks.add(block);
            }
            block.add(piece);
            tokens += piece.count;
        }
        return blocks;
    }

    /** The queries of some pieces in the heads that share a key head. */
    private final class Block {
        private final Tensor out;
        private final Tensor query;
        private final HostPages keys;
        private final HostPages values;
        private final Attention a;
        private final List<Piece> pieces;
        private final int kvHead;
        private final int group;
        /** First row of each piece, and the end. */
        private final int[] rows;
        /** Last key that a row sees, and the first within its window. */
        private final int[] last;

        private final int[] low;
        private final float[] queries;
        private final float[] sums;
        private final float[] scores;
        private final float[] max;
        private final float[] total;

        Block(Tensor out, Tensor query, State keys, State values, Attention attention, List<Piece> pieces, int kvHead) {
            this.out = out;
            this.query = query;
            this.keys = (HostPages) keys.pool().buffer();
            this.values = (HostPages) values.pool().buffer();
            this.a = attention;
            this.pieces = pieces;
            this.kvHead = kvHead;
            this.group = attention.heads() / attention.kvHeads();
            this.rows = new int[pieces.size() + 1];
            for (int p = 0; p < pieces.size(); p++) {
                rows[p + 1] = rows[p] + pieces.get(p).count * group;
            }
            int m = rows[pieces.size()];
            last = new int[m];
            low = new int[m];
            queries = scratch(QUERY, m * a.keyDim());
            sums = scratch(SUMS, m * a.valueDim());
            scores = scratch(SCORES, m * TILE);
            max = scratch(MAX, m);
            total = scratch(TOTAL, m);
        }

        void run() {
            int m = last.length;
            Arrays.fill(sums, 0, m * a.valueDim(), 0);
            Arrays.fill(max, 0, m, Float.NEGATIVE_INFINITY);
            Arrays.fill(total, 0, m, 0);
            for (int p = 0; p < pieces.size(); p++) {
                Piece piece = pieces.get(p);
                for (int i = 0; i < piece.count * group; i++) {
                    int row = rows[p] + i;
                    int token = piece.from + i / group;
                    last[row] = piece.span.past() + token;
                    low[row] = a.window() > 0 ? Math.max(0, last[row] - a.window() + 1) : 0;
                    int head = kvHead * group + i % group;
                    int from = offset(query) + (piece.span.first() + token) * query.width() + head * a.keyDim();
                    System.arraycopy(values(query), from, queries, row * a.keyDim(), a.keyDim());
                }
            }
            descend(0, pieces.size(), 0);
            for (int p = 0; p < pieces.size(); p++) {
                Piece piece = pieces.get(p);
                for (int i = 0; i < piece.count * group; i++) {
                    int token = piece.from + i / group;
                    int head = kvHead * group + i % group;
                    int to = offset(out) + (piece.span.first() + token) * out.width() + head * a.valueDim();
                    finish(rows[p] + i, head, to);
                }
            }
        }

        private void finish(int row, int head, int to) {
            float factor = 1 / total[row];
            Tensor sinks = a.sinks();
            if (sinks != null) {
                float sink = values(sinks)[offset(sinks) + head];
                float top = Math.max(sink, max[row]);
                float kept = ScalarLanes.exp(max[row] - top);
                factor = kept / (kept * total[row] + ScalarLanes.exp(sink - top));
            }
            for (int d = 0; d < a.valueDim(); d++) {
                values(out)[to + d] = sums[row * a.valueDim() + d] * factor;
            }
        }

        /** Walks down the tree of pages: together while pieces share them, then each branch by itself. */
        private void descend(int from, int to, int firstTile) {
            int begin = from;
            for (int tile = firstTile; begin < to; tile++) {
                // The order puts those that end first in front.
                while (begin < to && pieces.get(begin).pages() <= tile * TILE_PAGES) {
                    begin++;
                }
                if (begin == to) {
                    return;
                }
                if (!pieces.get(begin).sharesTile(pieces.get(to - 1), tile)) {
                    for (int next = begin; begin < to; begin = next) {
                        while (next < to && pieces.get(begin).sharesTile(pieces.get(next), tile)) {
                            next++;
                        }
                        descend(begin, next, tile);
                    }
                    return;
                }
                tile(begin, to, tile);
            }
        }

        private void tile(int from, int to, int tile) {
            int first = rows[from];
            int m = rows[to] - first;
            int start = tile * TILE;
            int end = 0;
            int lowest = Integer.MAX_VALUE;
            for (int row = first; row < first + m; row++) {
                end = Math.max(end, Math.min(start + TILE, last[row] + 1));
                lowest = Math.min(lowest, low[row]);
            }
            if (end <= start || start >= a.lead() && start + TILE <= lowest) {
                return;
            }
            Piece piece = pieces.get(from);
            int held = piece.pagesOf(tile) - tile * TILE_PAGES;
            int[] page = new int[TILE_PAGES];
            for (int p = 0; p < TILE_PAGES; p++) {
                page[p] = piece.span.pages()[tile * TILE_PAGES + Math.min(p, held - 1)];
            }
            score(first, m, page, held);
            for (int row = first; row < first + m; row++) {
                weigh(row, (row - first) * TILE, start);
            }
            sum(first, m, page, end - start);
        }

        private void score(int first, int m, int[] page, int held) {
            int dim = a.keyDim();
            int size = PAGE_TOKENS * dim;
            float[] from = keys.plain();
            int[] at = new int[TILE_PAGES];
            boolean plain = keys.isPlain(Role.KEYS);
            if (!plain) {
                from = scratch(KEYS, TILE_PAGES * size);
                float[] turned = scratch(TURNED, size);
                for (int p = 0; p < held; p++) {
                    keys.keys(page[p], kvHead, lanes, turned, 0, from, p * size);
                }
            }
            for (int p = 0; p < TILE_PAGES; p++) {
                at[p] = plain ? keys.plainAt(page[p], kvHead) : Math.min(p, held - 1) * size;
            }
            lanes.blockDots(queries, first * dim, dim, m, from, at, dim, scores, 0, TILE);
        }

        /** Turns a row's scores into weights relative to its running maximum; keys that it does not see get 0. */
        private void weigh(int row, int at, int start) {
            int visible = Math.min(TILE, last[row] + 1 - start);
            int hidden = Math.max(0, low[row] - start);
            int lead = Math.min(hidden, Math.max(0, a.lead() - start));
            if (visible <= 0 || hidden >= TILE && lead == 0) {
                Arrays.fill(scores, at, at + TILE, 0);
                return;
            }
            if (visible < TILE) {
                Arrays.fill(scores, at + visible, at + TILE, Float.NEGATIVE_INFINITY);
            }
            if (lead < hidden) {
                Arrays.fill(scores, at + lead, at + Math.min(TILE, hidden), Float.NEGATIVE_INFINITY);
            }
            float top = lanes.scaledMax(scores, at, a.scale(), TILE);
            if (a.softcap() > 0) {
                for (int j = at; j < at + TILE; j++) {
                    if (scores[j] > Float.NEGATIVE_INFINITY) {
                        scores[j] = a.softcap() * (float) Math.tanh(scores[j] / a.softcap());
                    }
                }
                top = lanes.scaledMax(scores, at, 1, TILE);
            }
            if (top > max[row]) {
                if (total[row] > 0) {
                    float kept = ScalarLanes.exp(max[row] - top);
                    lanes.scale(sums, row * a.valueDim(), kept, a.valueDim());
                    total[row] *= kept;
                }
                max[row] = top;
            }
            total[row] += lanes.expSum(scores, at, TILE, max[row]);
        }

        /** @param count keys of the tile that some row sees; behind them pages hold what was there before */
        private void sum(int first, int m, int[] page, int count) {
            int dim = a.valueDim();
            boolean plain = values.isPlain(Role.VALUES);
            int stride = values.headWidth();
            for (int p = 0; p * PAGE_TOKENS < count; p++) {
                float[] from = values.plain();
                int at = plain ? values.plainAt(page[p], kvHead) : 0;
                if (!plain) {
                    from = scratch(VALUES, PAGE_TOKENS * stride);
                    values.values(page[p], kvHead, lanes, from, 0);
                }
                int n = Math.min(PAGE_TOKENS, count - p * PAGE_TOKENS);
                lanes.weighted(scores, p * PAGE_TOKENS, TILE, m, from, at, stride, n, dim, sums, first * dim, dim);
            }
        }
    }
}
