package io.nightmill.kernels;

import java.util.function.IntConsumer;

/** What this machine can do, measured: the yardstick of benchmarks. */
public final class Peaks {
    private static final int BUFFER = 1 << 24;
    private static final int ROUNDS = 5;
    private static final int WARM_CALLS = 50_000;

    private Peaks() {}

    /** Bytes per second that {@code threads} read together from memory. */
    public static double readBandwidth(int threads) {
        Lanes lanes = Lanes.best();
        float[][] buffers = new float[threads][BUFFER];
        float[] sums = new float[threads];
        double seconds = best(threads, t -> sums[t] += lanes.sumOfSquares(buffers[t], 0, BUFFER));
        requireFinite(sums);
        return 4.0 * BUFFER * threads / seconds;
    }

    /** Float32 operations per second of {@code threads}, multiply-adds in registers counted as two. */
    public static double flops(int threads) {
        Lanes lanes = Lanes.best();
        int rounds = 20_000_000;
        float[] sums = new float[threads];
        // Short calls until they are compiled: a long one would make garbage all the while.
        for (int i = 0; i < WARM_CALLS; i++) {
            sums[0] += lanes.multiplyAdds(100);
        }
        double seconds = best(threads, t -> sums[t] += lanes.multiplyAdds(rounds));
        requireFinite(sums);
        return 2.0 * 8 * lanes.width() * rounds * threads / seconds;
    }

    /** Uses the sums, or the compiler would drop the work that made them. */
    private static void requireFinite(float[] sums) {
        for (float sum : sums) {
            if (!Float.isFinite(sum)) {
                throw new IllegalStateException("The measured sum is " + sum);
            }
        }
    }

    private static double best(int threads, IntConsumer body) {
        double best = Double.MAX_VALUE;
        try (Workers workers = new Workers(threads)) {
            for (int round = 0; round < ROUNDS; round++) {
                long start = System.nanoTime();
                workers.run(threads, body);
                best = Math.min(best, (System.nanoTime() - start) / 1e9);
            }
        }
        return best;
    }
}
