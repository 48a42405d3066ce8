package io.nightmill.kernels;

import io.nightmill.kernels.Backend.Router;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Tensor;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Rows are sorted by expert, then by token.
 *
 * @param starts expert {@code e} has the sorted rows {@code starts[e] .. starts[e + 1]}
 * @param choices which of the tokens' choices each sorted row is
 */
record HostRoutes(int topK, int[] experts, float[] weights, int[] starts, int[] choices) implements Routes {
    /** Runs a body for each row. */
    interface Rows {
        void each(IntConsumer body);
    }

    static HostRoutes of(Tensor logits, @Nullable Tensor choiceBias, Router router, Rows rows) {
        int topK = router.topK();
        int[] experts = new int[logits.rows() * topK];
        float[] weights = new float[experts.length];
        float[] bias = new float[choiceBias == null ? 0 : router.experts()];
        if (choiceBias != null) {
            System.arraycopy(HostBuffer.values(choiceBias), HostBuffer.offset(choiceBias), bias, 0, bias.length);
        }
        rows.each(i -> {
            int from = HostBuffer.offset(logits) + i * logits.width();
            Routing.choose(HostBuffer.values(logits), from, bias, router, experts, weights, i * topK);
        });
        int[] starts = new int[router.experts() + 1];
        for (int expert : experts) {
            starts[expert + 1]++;
        }
        for (int e = 0; e < router.experts(); e++) {
            starts[e + 1] += starts[e];
        }
        int[] choices = new int[experts.length];
        int[] next = starts.clone();
        for (int i = 0; i < choices.length; i++) {
            choices[next[experts[i]]++] = i;
        }
        return new HostRoutes(topK, experts, weights, starts, choices);
    }

    /** Whose a sorted row is. */
    int token(int row) {
        return choices[row] / topK;
    }

    int[] tokens() {
        return IntStream.range(0, choices.length).map(this::token).toArray();
    }

    /** Groups of rows for a product. */
    static int[] starts(@Nullable Routes routes, int rows) {
        return routes == null ? new int[] {0, rows} : ((HostRoutes) routes).starts;
    }

    /** Adds how often each expert was chosen. */
    void count(Tensor load) {
        for (int e = 0; e + 1 < starts.length; e++) {
            HostBuffer.values(load)[HostBuffer.offset(load) + e] += starts[e + 1] - starts[e];
        }
    }
}
