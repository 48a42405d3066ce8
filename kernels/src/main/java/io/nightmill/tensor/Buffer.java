package io.nightmill.tensor;

/** Storage of float32 values, owned by the one backend that allocated it. */
public interface Buffer {
    /** Number of float32 values. */
    long size();
}
