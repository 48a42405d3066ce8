package io.nightmill.kernels;

import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.Tensor;

/** Values in a Java array; the buffer of the host and reference backends. */
record HostBuffer(float[] values) implements Buffer {
    @Override
    public long size() {
        return values.length;
    }

    static float[] values(Tensor tensor) {
        return ((HostBuffer) tensor.buffer()).values;
    }

    static int offset(Tensor tensor) {
        return (int) tensor.offset();
    }

    /** Scratch of {@code size} values or more: what is there, if it suffices. */
    static float[] atLeast(float[] values, int size) {
        return values.length < size ? new float[size] : values;
    }
}
