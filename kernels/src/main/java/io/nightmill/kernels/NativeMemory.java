package io.nightmill.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * Memory outside the heap and outside {@code -XX:MaxDirectMemorySize}, which is as large as the heap: weights may be many times
 * larger. JavaCPP would end the process where all of its memory, mapped files included, is twice the heap; that is taken back.
 */
public final class NativeMemory {
    static {
        System.getProperties().putIfAbsent("org.bytedeco.javacpp.maxBytes", "0");
        System.getProperties().putIfAbsent("org.bytedeco.javacpp.maxPhysicalBytes", "0");
    }

    private static final boolean NATIVE = isThere();

    private static final int LINE = 64;
    /** So much is asked of the C library at once, which leaves gaps between blocks. What nobody writes to takes no memory. */
    private static final int SLAB = 1 << 26;

    /** What JavaCPP frees once it is not reachable; its buffers do not hold it. */
    private final List<Pointer> owned = new ArrayList<>();

    private ByteBuffer slab = ByteBuffer.allocate(0);

    private static boolean isThere() {
        try (Pointer one = new BytePointer(1)) {
            return !one.isNull();
        } catch (LinkageError e) {
            return false;
        }
    }

    /** Makes sure that the limits are set before the library reads them: to be called before JavaCPP is used. */
    public static void prepare() {}

    /** Zeros on a cache line, for as long as this object is reachable. */
    public ByteBuffer allocate(int bytes) {
        if (!NATIVE) {
            return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
        }
        ByteBuffer place = reserve(bytes);
        Pointer.memset(new BytePointer(place), 0, bytes);
        return place.order(ByteOrder.nativeOrder());
    }

    private synchronized ByteBuffer reserve(int bytes) {
        if (bytes > SLAB / 4) {
            return block(bytes);
        }
        int from = (int) lines(slab.position());
        if (from + bytes > slab.capacity()) {
            slab = block(SLAB);
            from = 0;
        }
        slab.position(from + bytes);
        return slab.slice(from, bytes);
    }

    /** An aligned slice is cut at both ends, so there is a line to spare. */
    private ByteBuffer block(int bytes) {
        BytePointer memory = new BytePointer(lines(bytes) + LINE);
        owned.add(memory);
        return memory.asBuffer().alignedSlice(LINE).slice(0, bytes);
    }

    /** As many bytes in whole lines. */
    private static long lines(int bytes) {
        return (bytes + LINE - 1L) / LINE * LINE;
    }
}
