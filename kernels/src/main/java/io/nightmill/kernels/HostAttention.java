package io.nightmill.kernels;

import static io.nightmill.kernels.HostBuffer.offset;
import static io.nightmill.kernels.HostBuffer.values;
import static io.nightmill.tensor.Batch.PAGE_TOKENS;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

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
    private final ThreadLocal<Scratch> scratch = ThreadLocal.withInitial(Scratch::new);

    HostAttention(Lanes lanes, Workers workers) {
        this.lanes = lanes;
        this.workers = workers;
    }

    /** A thread's own memory; a row per query, key head by key head. */
    private static final class Scratch {
        float[] queries = new float[0];
        float[] sums = new float[0];
        float[] scores = new float[0];
        float[] max = new float[0];
        float[] total = new float[0];
        final HostPages.Widened widened = new HostPages.Widened();

        /** @param m rows of one key head */
        void reset(int m, int kvHeads, Attention a) {
            queries = HostBuffer.atLeast(queries, kvHeads * m * a.keyDim());
            sums = HostBuffer.atLeast(sums, kvHeads * m * a.valueDim());
            scores = HostBuffer.atLeast(scores, m * TILE);
            max = HostBuffer.atLeast(max, kvHeads * m);
            total = HostBuffer.atLeast(total, kvHeads * m);
            Arrays.fill(sums, 0, kvHeads * m * a.valueDim(), 0);
            Arrays.fill(max, 0, kvHeads * m, Float.NEGATIVE_INFINITY);
            Arrays.fill(total, 0, kvHeads * m, 0);
        }
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

    void attend(Tensor out, Tensor query, State keys, State values, Attention a, Batch batch) {
        List<Supplier<Block>> blocks = new ArrayList<>();
        int group = a.heads() / a.kvHeads();
        List<List<Piece>> all = blocks(batch, group);
        // A page holds all heads one after another, so few queries read it through; but every thread should have work.
        boolean apart = all.size() < 4 * workers.threads();
        for (List<Piece> pieces : all) {
            int rows = group * pieces.stream().mapToInt(Piece::count).sum();
            int heads = apart || rows * a.kvHeads() > ROWS ? 1 : a.kvHeads();
            for (int h = 0; h < a.kvHeads(); h += heads) {
                int head = h;
                blocks.add(() -> new Block(out, query, keys, values, a, pieces, head, heads));
            }
        }
        workers.run(blocks.size(), i -> blocks.get(i).get().run());
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

    /** The queries of some pieces, in the heads that share some key heads. Made by the thread that runs it. */
    private final class Block {
        private final Tensor out;
        private final Tensor query;
        private final HostPages keys;
        private final HostPages values;
        private final Attention a;
        private final List<Piece> pieces;
        private final int firstHead;
        private final int kvHeads;
        private final int group;
        /** First row of each piece within a key head, and the end. */
        private final int[] rows;
        /** Last key that a row sees, and the first within its window. */
        private final int[] last;

        private final int[] low;
        private final float[] queries;
        private final float[] sums;
        private final float[] scores;
        private final float[] max;
        private final float[] total;
        private final HostPages.Widened widened;

        Block(
                Tensor out,
                Tensor query,
                State keys,
                State values,
                Attention attention,
                List<Piece> pieces,
                int firstHead,
                int kvHeads) {
            this.out = out;
            this.query = query;
            this.keys = (HostPages) keys.pool().buffer();
            this.values = (HostPages) values.pool().buffer();
            this.a = attention;
            this.pieces = pieces;
            this.firstHead = firstHead;
            this.kvHeads = kvHeads;
            this.group = attention.heads() / attention.kvHeads();
            this.rows = new int[pieces.size() + 1];
            for (int p = 0; p < pieces.size(); p++) {
                rows[p + 1] = rows[p] + pieces.get(p).count * group;
            }
            last = new int[rows[pieces.size()]];
            low = new int[last.length];
            Scratch mine = scratch.get();
            mine.reset(last.length, kvHeads, a);
            queries = mine.queries;
            sums = mine.sums;
            scores = mine.scores;
            max = mine.max;
            total = mine.total;
            widened = mine.widened;
        }

        void run() {
            int m = last.length;
            eachRow((row, token, piece, index) -> {
                last[row] = piece.span.past() + token;
                low[row] = a.window() > 0 ? Math.max(0, last[row] - a.window() + 1) : 0;
                for (int h = 0; h < kvHeads; h++) {
                    int head = (firstHead + h) * group + index;
                    int from = offset(query) + (piece.span.first() + token) * query.width() + head * a.keyDim();
                    System.arraycopy(values(query), from, queries, (h * m + row) * a.keyDim(), a.keyDim());
                }
            });
            descend(0, pieces.size(), 0);
            eachRow((row, token, piece, index) -> {
                for (int h = 0; h < kvHeads; h++) {
                    int head = (firstHead + h) * group + index;
                    int to = offset(out) + (piece.span.first() + token) * out.width() + head * a.valueDim();
                    finish(h * m + row, head, to);
                }
            });
        }

        private void eachRow(RowBody body) {
            for (int p = 0; p < pieces.size(); p++) {
                Piece piece = pieces.get(p);
                for (int i = 0; i < piece.count * group; i++) {
                    body.accept(rows[p] + i, piece.from + i / group, piece, i % group);
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
            int count = rows[to] - first;
            int start = tile * TILE;
            int end = 0;
            int lowest = Integer.MAX_VALUE;
            for (int row = first; row < first + count; row++) {
                end = Math.max(end, Math.min(start + TILE, last[row] + 1));
                lowest = Math.min(lowest, low[row]);
            }
            if (end <= start || start >= a.lead() && start + TILE <= lowest) {
                return;
            }
            Piece piece = pieces.get(from);
            int[] page = Arrays.copyOfRange(piece.span.pages(), tile * TILE_PAGES, piece.pagesOf(tile));
            for (int h = 0; h < kvHeads; h++) {
                int row = h * last.length + first;
                int head = firstHead + h;
                keys.dots(page, head, queries, row * a.keyDim(), count, scores, lanes, widened);
                for (int i = 0; i < count; i++) {
                    weigh(row + i, first + i, i * TILE, start);
                }
                // Behind the last key that a row sees, a page holds what was there before.
                int at = row * a.valueDim();
                values.weighted(page, head, scores, count, end - start, sums, at, a.valueDim(), lanes, widened);
            }
        }

        /** Turns scores into weights relative to the row's running maximum; keys that it does not see get 0. */
        private void weigh(int row, int query, int at, int start) {
            int visible = Math.min(TILE, last[query] + 1 - start);
            int hidden = Math.max(0, low[query] - start);
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
    }

    /** What is done for a row: its token in the piece's span, and its head within the group. */
    @FunctionalInterface
    private interface RowBody {
        void accept(int row, int token, Piece piece, int index);
    }
}
