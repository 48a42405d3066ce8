package io.nightmill.kernels;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Whether something pays on this CPU that changes no result: done and left out on the first calls that come, as they come, and
 * then known. By any thread.
 */
final class Trial {
    /** Calls of either kind; the JVM compiles during the first of them. */
    private static final int CALLS = 600;

    private static final int COUNTED = 200;

    private final AtomicInteger begun = new AtomicInteger();
    private final double[][] costs = new double[2][CALLS];
    private final int[] taken = new int[2];
    private volatile boolean decided;
    private volatile boolean pays;

    /** Whether this call does it; if so, or if not, {@link #took} wants to know what the call cost. */
    boolean next() {
        // The sequence of Thue and Morse: work that repeats after some calls is not always done in the same way.
        return decided ? pays : Integer.bitCount(begun.getAndIncrement()) % 2 == 1;
    }

    /** @param cost of a unit of work, so that calls of several sizes can be compared */
    void took(boolean with, double cost) {
        if (!decided) {
            note(with ? 1 : 0, cost);
        }
    }

    private synchronized void note(int kind, double cost) {
        if (taken[kind] < CALLS) {
            costs[kind][taken[kind]++] = cost;
        }
        if (!decided && taken[0] == CALLS && taken[1] == CALLS) {
            pays = median(costs[1]) < median(costs[0]);
            decided = true;
        }
    }

    private static double median(double[] costs) {
        double[] counted = Arrays.copyOfRange(costs, CALLS - COUNTED, CALLS);
        Arrays.sort(counted);
        return counted[COUNTED / 2];
    }
}
