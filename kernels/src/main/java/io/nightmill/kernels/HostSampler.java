package io.nightmill.kernels;

import io.nightmill.kernels.Backend.Draw;
import io.nightmill.kernels.Backend.Picks;
import io.nightmill.tensor.Tensor;
import java.util.Arrays;

/** {@link Backend#sample} and {@link Backend#top} of one row, without sorting the vocabulary. */
public final class HostSampler {
    /** Likeliest tokens that are looked at first for those that have top-p of the sum. */
    private static final int NUCLEUS = 256;

    private HostSampler() {}

    /**
     * @param x logits, from {@code at} on
     * @param weights room for {@code n}
     */
    static int draw(float[] x, int at, int n, Draw draw, float[] weights, Lanes lanes) {
        int best = HostBackend.best(x, at, n);
        if (draw.temperature() == 0) {
            return best;
        }
        float inverse = (float) (1 / draw.temperature());
        float most = x[at + best];
        for (int id = 0; id < n; id++) {
            weights[id] = (x[at + id] - most) * inverse;
        }
        lanes.activate(Activation.EXP, weights, 0, weights, 0, n);
        boolean cuts = draw.topK() > 0 && draw.topK() < n;
        long least = cuts ? largest(x, at, n, draw.topK())[0] : Long.MIN_VALUE;
        double total = 0;
        for (int id = 0; id < n; id++) {
            if (weights[id] < draw.minP() || cuts && key(x[at + id], id) < least) {
                weights[id] = 0;
            }
            total += weights[id];
        }
        if (draw.topP() < 1) {
            least = nucleus(x, at, n, weights, draw.topP() * total);
            total = 0;
            for (int id = 0; id < n; id++) {
                weights[id] = key(x[at + id], id) < least ? 0 : weights[id];
                total += weights[id];
            }
        }
        double left = draw.uniform() * total;
        int chosen = best;
        for (int id = 0; id < n && left >= 0; id++) {
            if (weights[id] > 0) {
                chosen = id;
                left -= weights[id];
            }
        }
        return chosen;
    }

    /**
     * {@link Backend#top} of a row that is in {@code x} from {@code at} on, too.
     *
     * @param on judges the likeliest token
     */
    public static void top(Backend on, Tensor row, float[] x, int at, int[] tokens, float[] logprobs) {
        long[] keys = largest(x, at, row.width(), tokens.length);
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = (int) ~keys[tokens.length - 1 - i];
        }
        Picks best = Picks.of(1);
        on.pick(best, row, new int[] {tokens[0]});
        for (int i = 0; i < tokens.length; i++) {
            logprobs[i] = best.logprobs()[0] + (x[at + tokens[i]] - x[at + tokens[0]]);
        }
    }

    /** The key of the last token, from the likeliest on, that it takes to reach a sum. */
    private static long nucleus(float[] x, int at, int n, float[] weights, double goal) {
        for (int count = Math.min(n, NUCLEUS); ; count = (int) Math.min(n, 8L * count)) {
            long[] keys = largest(x, at, n, count);
            double sum = 0;
            for (int i = count - 1; i >= 0; i--) {
                sum += weights[(int) ~keys[i]];
                if (sum >= goal) {
                    return keys[i];
                }
            }
            if (count == n) {
                return Long.MIN_VALUE;
            }
        }
    }

    /** Larger for larger logits, and of equal ones for smaller ids; the lower half is the id's complement. */
    private static long key(float logit, int id) {
        // Zero has one sign.
        int bits = Float.floatToRawIntBits(logit + 0f);
        return (long) (bits ^ bits >> 31 & 0x7fffffff) << 32 | ~id & 0xffffffffL;
    }

    /** The {@code count} largest keys, ascending. */
    private static long[] largest(float[] x, int at, int n, int count) {
        long[] heap = new long[count];
        for (int id = 0; id < count; id++) {
            heap[id] = key(x[at + id], id);
        }
        if (count < n) {
            for (int i = count / 2 - 1; i >= 0; i--) {
                sink(heap, i);
            }
            for (int id = count; id < n; id++) {
                long key = key(x[at + id], id);
                if (key > heap[0]) {
                    heap[0] = key;
                    sink(heap, 0);
                }
            }
        }
        Arrays.sort(heap);
        return heap;
    }

    /** Restores a heap, smallest first, below a place. */
    private static void sink(long[] heap, int place) {
        int at = place;
        long key = heap[at];
        for (int child = 2 * at + 1; child < heap.length; child = 2 * at + 1) {
            if (child + 1 < heap.length && heap[child + 1] < heap[child]) {
                child++;
            }
            if (heap[child] >= key) {
                break;
            }
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = key;
    }
}
