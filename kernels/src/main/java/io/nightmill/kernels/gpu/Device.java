package io.nightmill.kernels.gpu;

import java.nio.ByteBuffer;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Something that runs kernels in the order in which they are given, over memory of its own. Confined to one thread at a time.
 * {@link OpenClDevice} is the real one; tests have one that runs the kernels' Java.
 */
public interface Device extends AutoCloseable {
    /** Platform, device and driver, for people and reports. */
    String describe();

    /** What products are made for. */
    enum Forms {
        /** The kernels' Java, and nothing else. */
        JAVA,
        /** Few lanes, with vectors. */
        CPU,
        /** Many lanes, and tiles in local memory. */
        GPU,
        /** Besides, 32 lanes together have instructions for products of matrices of bfloat16. */
        MATRIX
    }

    Forms forms();

    /** Bytes of the device's memory. */
    long memoryBytes();

    /** The largest single allocation, in bytes. */
    long mostBytes();

    /**
     * Memory with undefined contents, given back when it is not reachable any more.
     *
     * @throws DeviceException where there is too little
     */
    Memory allocate(long bytes);

    /** Copies bytes to the device; the buffer may be reused at once. */
    void write(Memory to, long at, ByteBuffer bytes);

    /** Copies bytes from the device, after all that was launched before. */
    void read(Memory from, long at, ByteBuffer bytes);

    void copy(Memory from, long fromAt, Memory to, long toAt, long bytes);

    /** Queues a kernel. */
    void run(Launch launch);

    /**
     * Copies bytes to the device beside the kernels that are queued.
     *
     * @param bytes outside the heap, which stay as they are until the event has come
     * @param after what must have come before, or null
     */
    Event writeBeside(Memory to, long at, ByteBuffer bytes, @Nullable Event after);

    /** Comes once all is done that has been queued so far, but for what is written beside. */
    Event mark();

    /** What is queued from now on begins when the event has come. */
    void await(Event event);

    /** What has been moved and launched so far. */
    Traffic traffic();

    @Override
    void close();

    /** Something that comes; to be closed once nobody is to wait for it any more. */
    interface Event extends AutoCloseable {
        @Override
        void close();
    }

    /** A piece of the device's memory. */
    interface Memory {
        long bytes();
    }

    /**
     * Part of a memory, as a kernel's parameter.
     *
     * @param at first byte
     */
    record View(Memory memory, long at, long bytes) {}

    /** What each kernel took so far. Any thread may ask. */
    List<KernelTime> kernelTimes();

    /**
     * @param seconds on the device, by the launches that were timed
     * @param flops of products, else 0
     * @param bytes of weights that products read, else 0
     */
    record KernelTime(String kernel, long launches, double seconds, double flops, double bytes) {}

    /** Bytes to the device and from it, kernels launched, and parameters that they had to be told. */
    record Traffic(long written, long read, long launches, long parameters) {}
}
