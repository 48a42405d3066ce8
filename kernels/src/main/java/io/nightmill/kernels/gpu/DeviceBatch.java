package io.nightmill.kernels.gpu;

import io.nightmill.tensor.Batch;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * A step's sequences as kernels see them: {@code [span, position]} for each token, {@code [first, count, past, slot, its pages'
 * place]} for each span, then all pages.
 *
 * @param longest tokens of the longest sequence, the step's own included
 * @param tiles of {@link #tiles(Batch, int)}, by group
 */
record DeviceBatch(
        Batch batch, Device.View ints, int spansAt, int pagesAt, int longest, Map<Integer, Device.View> tiles) {
    static int[] ints(Batch batch) {
        int tokens = batch.size();
        int spans = batch.spans().size();
        int pages = batch.spans().stream().mapToInt(span -> span.pages().length).sum();
        int[] ints = new int[2 * tokens + 5 * spans + pages];
        int page = 0;
        for (int s = 0; s < spans; s++) {
            Batch.Span span = batch.spans().get(s);
            for (int i = 0; i < span.count(); i++) {
                ints[2 * (span.first() + i)] = s;
                ints[2 * (span.first() + i) + 1] = span.past() + i;
            }
            int at = 2 * tokens + 5 * s;
            ints[at] = span.first();
            ints[at + 1] = span.count();
            ints[at + 2] = span.past();
            ints[at + 3] = span.slot();
            ints[at + 4] = page;
            System.arraycopy(span.pages(), 0, ints, 2 * tokens + 5 * spans + page, span.pages().length);
            page += span.pages().length;
        }
        return ints;
    }

    static DeviceBatch of(Batch batch, Device.View ints) {
        int spansAt = 2 * batch.size();
        int longest = batch.spans().stream()
                .mapToInt(span -> span.past() + span.count())
                .max()
                .orElse(0);
        return new DeviceBatch(batch, ints, spansAt, spansAt + 5 * batch.spans().size(), longest, new HashMap<>());
    }

    /** Of each tile of attention's rows, {@code group} of them for a token: its span, and the first of its rows there. */
    static int[] tiles(Batch batch, int group) {
        IntStream.Builder tiles = IntStream.builder();
        for (int s = 0; s < batch.spans().size(); s++) {
            for (int row = 0; row < batch.spans().get(s).count() * group; row += AttentionKernels.ROWS) {
                tiles.add(s).add(row);
            }
        }
        return tiles.build().toArray();
    }

    Launch in(Launch launch) {
        return launch.set("batch", ints)
                .set("spansAt", spansAt)
                .set("pagesAt", pagesAt)
                .set("spans", batch.spans().size());
    }
}
