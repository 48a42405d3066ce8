package io.nightmill.kernels;

/**
 * Whether something that changes no result pays on this CPU: left out and done in turns of many calls, as they come, and then
 * known by the best turn of either kind. For any thread.
 */
final class Trial {
    /** Of a turn: more than a token's, so that all turns have the same mixture of work. */
    static final int CALLS = 1024;
    /** In the first of either kind the JVM compiles. */
    private static final int TURNS = 8;

    /** Nanoseconds for a unit of work, without and with it. */
    private final double[] best = {Double.MAX_VALUE, Double.MAX_VALUE};

    /** Written after {@link #best}. */
    private volatile int turn;

    private int calls;
    private long nanos;
    private long units;

    /** Whether this call is to do it; {@link #took} wants to know what it cost. */
    boolean next() {
        return turn == TURNS ? best[1] < best[0] : isWith(turn);
    }

    private static boolean isWith(int turn) {
        return turn % 2 == 1;
    }

    /** @param work of the call, in units of the caller's */
    void took(boolean with, long time, long work) {
        if (turn < TURNS) {
            note(with, time, work);
        }
    }

    /** Leaves out calls that began in a turn that is over. */
    private synchronized void note(boolean with, long time, long work) {
        int current = turn;
        if (current == TURNS || with != isWith(current)) {
            return;
        }
        nanos += time;
        units += work;
        calls++;
        if (calls < CALLS) {
            return;
        }
        if (current > 1) {
            best[current % 2] = Math.min(best[current % 2], (double) nanos / units);
        }
        calls = 0;
        nanos = 0;
        units = 0;
        turn = current + 1;
    }
}
