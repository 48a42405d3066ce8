package io.nightmill.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
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

    /** What JavaCPP frees once it is not reachable; its buffers do not hold it. */
    private final Queue<Pointer> owned = new ConcurrentLinkedQueue<>();

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
        BytePointer memory = new BytePointer(bytes + 64L);
        owned.add(memory);
        memory.zero();
        ByteBuffer buffer = memory.asBuffer();
        return buffer.alignedSlice(64).slice(0, bytes).order(ByteOrder.nativeOrder());
    }
}
