package io.nightmill.engine;

/** What steps took. A step that reads a part of a prompt or of a continuation is a prefill, whatever else it decodes. */
public record Work(Steps prefill, Steps decode) {
    public static final Work NONE = new Work(Steps.NONE, Steps.NONE);

    /**
     * @param tokens computed, with those that a prefill decodes beside
     * @param stateBytes of the states of a step's rows, as if no window cut them and no two shared a prefix
     */
    public record Steps(long count, long tokens, long nanos, long stateBytes) {
        static final Steps NONE = new Steps(0, 0, 0, 0);

        Steps plus(Steps other, int sign) {
            return new Steps(
                    count + sign * other.count,
                    tokens + sign * other.tokens,
                    nanos + sign * other.nanos,
                    stateBytes + sign * other.stateBytes);
        }

        private long[] row() {
            return new long[] {count, tokens, nanos, stateBytes};
        }

        private static Steps of(long[] row) {
            return new Steps(row[0], row[1], row[2], row[3]);
        }
    }

    public static Work step(boolean reads, Steps one) {
        return reads ? new Work(one, Steps.NONE) : new Work(Steps.NONE, one);
    }

    public Work plus(Work other) {
        return new Work(prefill.plus(other.prefill, 1), decode.plus(other.decode, 1));
    }

    public Work minus(Work other) {
        return new Work(prefill.plus(other.prefill, -1), decode.plus(other.decode, -1));
    }

    /** {@code [prefill, decode][count, tokens, nanoseconds, state bytes]}, as {@link #of} reads it; a sum of such tables is one. */
    public long[][] table() {
        return new long[][] {prefill.row(), decode.row()};
    }

    /** @param table empty is nothing */
    public static Work of(long[][] table) {
        return table.length == 0 ? NONE : new Work(Steps.of(table[0]), Steps.of(table[1]));
    }

    public long steps() {
        return prefill.count + decode.count;
    }

    public long tokens() {
        return prefill.tokens + decode.tokens;
    }
}
