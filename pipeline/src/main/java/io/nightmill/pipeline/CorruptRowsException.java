package io.nightmill.pipeline;

/** Bytes that are not those which were written. */
final class CorruptRowsException extends RuntimeException {
    private static final long serialVersionUID = 1;

    CorruptRowsException(String found) {
        super("Cannot read rows: " + found);
    }

    /** In place of Kryo's underflow, which Spark takes for the end of the stream: rows would be missing. */
    static CorruptRowsException endsEarly() {
        return new CorruptRowsException("they end early");
    }

    static void unlessEqual(long sum, long expected) {
        if (sum != expected) {
            throw new CorruptRowsException("checksum %08x, expected %08x".formatted(sum, expected));
        }
    }
}
