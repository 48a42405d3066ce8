package io.nightmill.engine;

/**
 * What steps took. A step that reads a part of a prompt or of a continuation is a prefill, whatever else it decodes.
 *
 * @param prefillTokens tokens of such steps, those that they decode beside included
 */
public record Work(
        long prefillSteps,
        long prefillTokens,
        long prefillNanos,
        long decodeSteps,
        long decodeTokens,
        long decodeNanos) {
    public static final Work NONE = new Work(0, 0, 0, 0, 0, 0);

    public static Work step(boolean reads, long tokens, long nanos) {
        return reads ? new Work(1, tokens, nanos, 0, 0, 0) : new Work(0, 0, 0, 1, tokens, nanos);
    }

    public Work plus(Work other) {
        return new Work(
                prefillSteps + other.prefillSteps,
                prefillTokens + other.prefillTokens,
                prefillNanos + other.prefillNanos,
                decodeSteps + other.decodeSteps,
                decodeTokens + other.decodeTokens,
                decodeNanos + other.decodeNanos);
    }

    public Work minus(Work other) {
        return new Work(
                prefillSteps - other.prefillSteps,
                prefillTokens - other.prefillTokens,
                prefillNanos - other.prefillNanos,
                decodeSteps - other.decodeSteps,
                decodeTokens - other.decodeTokens,
                decodeNanos - other.decodeNanos);
    }

    /** {@code [prefill, decode][steps, tokens, nanoseconds]}, as {@link #of} reads it; a sum of such tables is one. */
    public long[][] table() {
        return new long[][] {{prefillSteps, prefillTokens, prefillNanos}, {decodeSteps, decodeTokens, decodeNanos}};
    }

    /** @param table empty is nothing */
    public static Work of(long[][] table) {
        return table.length == 0
                ? NONE
                : new Work(table[0][0], table[0][1], table[0][2], table[1][0], table[1][1], table[1][2]);
    }

    public long steps() {
        return prefillSteps + decodeSteps;
    }

    public long tokens() {
        return prefillTokens + decodeTokens;
    }
}
