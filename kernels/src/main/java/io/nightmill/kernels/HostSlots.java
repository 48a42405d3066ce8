package io.nightmill.kernels;

import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.State;

/** States of fixed size, an array for each sequence, which is taken when the sequence first needs it. */
final class HostSlots implements Buffer {
    private final int width;
    private final float[][] slots;

    HostSlots(int width, int count) {
        this.width = width;
        this.slots = new float[count][];
    }

    @Override
    public long size() {
        return (long) width * slots.length;
    }

    /** A sequence's state. */
    static float[] of(State state, Batch.Span span) {
        return ((HostSlots) state.pool().buffer()).slots[span.slot()];
    }

    /** Takes memory for a batch's sequences; no other thread may use the slots meanwhile. */
    static void reserve(State state, Batch batch) {
        HostSlots slots = (HostSlots) state.pool().buffer();
        batch.spans().forEach(span -> slots.reserve(span.slot()));
    }

    private void reserve(int slot) {
        if (slots[slot] == null) {
            slots[slot] = new float[width];
        }
    }

    void copy(int from, int to) {
        reserve(to);
        System.arraycopy(slots[from], 0, slots[to], 0, width);
    }
}
