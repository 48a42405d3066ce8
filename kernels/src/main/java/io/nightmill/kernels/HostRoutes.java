package io.nightmill.kernels;

import io.nightmill.kernels.Backend.Router;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Tensor;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * @param starts expert {@code e} has the sorted rows {@code starts[e] .. starts[e + 1]}
 * @param place sorted row of each {@code (token, choice)}
 * @param token whose row each sorted row is
 */
record HostRoutes(int topK, int[] experts, float[] weights, int[] starts, int[] place, int[] token) implements Routes {
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
        int[] place = new int[experts.length];
        int[] token = new int[experts.length];
        int[] next = starts.clone();
        for (int i = 0; i < place.length; i++) {
            place[i] = next[experts[i]]++;
            token[place[i]] = i / topK;
        }
        return new HostRoutes(topK, experts, weights, starts, place, token);
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
