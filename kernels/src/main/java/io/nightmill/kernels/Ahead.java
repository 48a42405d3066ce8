package io.nightmill.kernels;

import java.nio.ByteBuffer;

/**
 * Reads memory before it is worked on. A core looks a few hundred operations ahead for loads, so a kernel of many operations per line
 * waits for memory again and again, and one that only loads does so once: bringing a few pages into the first cache and then working on
 * them took codes of four bits from 14 to 29 billion per second and thread. Java has no instruction for that.
 */
final class Ahead {
    /** Bytes that a core's first cache holds beside what else is at work. */
    static final int FIRST_CACHE = 36 << 10;

    /** The same of the second. */
    static final int SECOND_CACHE = 512 << 10;

    private static final int LINE = 64;

    /** Makes a result of what was read, so that C2 does not leave the loads out. */
    @SuppressWarnings("UnusedVariable")
    private static long found;

    private Ahead() {}

    static void read(ByteBuffer bytes, int at, int count) {
        long even = 0;
        long odd = 0;
        int i = at;
        for (; i + LINE + Long.BYTES <= at + count; i += 2 * LINE) {
            even |= bytes.getLong(i);
            odd |= bytes.getLong(i + LINE);
        }
        if (even == 17 && odd == 19) {
            found++;
        }
    }
}
