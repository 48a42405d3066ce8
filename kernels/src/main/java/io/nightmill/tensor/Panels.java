package io.nightmill.tensor;

import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * The bytes of a {@link Matrix}: little-endian buffers of whole rows, because one Java buffer ends at 2 GiB. Those of a file are
 * mapped when they are asked for and forgotten once nobody holds them. A backend that brings weights into a layout of its own copies
 * them instead, which maps nothing. Safe for use by several threads.
 */
public final class Panels {
    /** Fills a buffer with bytes of a panel from {@code offset} on. */
    public interface Copier {
        void copy(int panel, int offset, ByteBuffer into);
    }

    private final IntFunction<ByteBuffer> maker;
    private final @Nullable Copier copier;
    private final @Nullable AtomicReferenceArray<WeakReference<ByteBuffer>> made;
    private final int count;
    private final long bytes;

    private Panels(
            IntFunction<ByteBuffer> maker,
            @Nullable Copier copier,
            @Nullable AtomicReferenceArray<WeakReference<ByteBuffer>> made,
            int count,
            long bytes) {
        this.maker = maker;
        this.copier = copier;
        this.made = made;
        this.count = count;
        this.bytes = bytes;
    }

    /** Buffers that are held. */
    public static Panels of(List<ByteBuffer> buffers) {
        List<ByteBuffer> held = buffers.stream()
                .map(buffer -> buffer.slice().order(ByteOrder.LITTLE_ENDIAN))
                .toList();
        long bytes = held.stream().mapToLong(ByteBuffer::capacity).sum();
        return new Panels(held::get, null, null, held.size(), bytes);
    }

    /**
     * Buffers that are made when they are asked for, perhaps more than once.
     *
     * @param bytes of all of them
     */
    public static Panels onDemand(int count, long bytes, IntFunction<ByteBuffer> maker) {
        return new Panels(maker, null, new AtomicReferenceArray<>(count), count, bytes);
    }

    /**
     * The same of bytes that can be had without their buffer.
     *
     * @param copier fills a buffer
     */
    public static Panels onDemand(int count, long bytes, IntFunction<ByteBuffer> maker, Copier copier) {
        return new Panels(maker, copier, new AtomicReferenceArray<>(count), count, bytes);
    }

    /** Fills a buffer from its position to its limit with bytes of panel {@code i} from {@code offset} on. */
    void copy(int i, int offset, ByteBuffer into) {
        if (copier != null) {
            copier.copy(i, offset, into);
        } else {
            into.put(get(i).slice(offset, into.remaining()));
        }
    }

    public ByteBuffer get(int i) {
        if (made == null) {
            return maker.apply(i);
        }
        WeakReference<ByteBuffer> before = made.get(i);
        ByteBuffer buffer = before == null ? null : before.get();
        if (buffer == null) {
            buffer = maker.apply(i).slice().order(ByteOrder.LITTLE_ENDIAN);
            made.set(i, new WeakReference<>(buffer));
        }
        return buffer;
    }

    public int count() {
        return count;
    }

    public long bytes() {
        return bytes;
    }
}
