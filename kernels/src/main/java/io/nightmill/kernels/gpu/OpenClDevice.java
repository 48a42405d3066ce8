package io.nightmill.kernels.gpu;

import static org.bytedeco.opencl.global.OpenCL.*;

import io.nightmill.kernels.NativeMemory;
import java.lang.ref.Cleaner;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.LockSupport;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.SizeTPointer;
import org.bytedeco.opencl._cl_command_queue;
import org.bytedeco.opencl._cl_context;
import org.bytedeco.opencl._cl_device_id;
import org.bytedeco.opencl._cl_event;
import org.bytedeco.opencl._cl_kernel;
import org.bytedeco.opencl._cl_mem;
import org.bytedeco.opencl._cl_platform_id;
import org.bytedeco.opencl._cl_program;
import org.jspecify.annotations.Nullable;

/**
 * A device of an OpenCL platform: one context and one queue in order, for the life of the executor. Kernels are built when they
 * are first used; launches do not wait.
 */
public final class OpenClDevice implements Device {
    static {
        NativeMemory.prepare();
    }

    private static final Cleaner CLEANER = Cleaner.create();
    /** Bytes that travel to the device between two waits. */
    private static final int STAGING = 8 << 20;

    /** Odd, since layers are even, and timed launches should be of all of them. */
    private static final int TIMED = 17;

    private static final int BUILDS = 4;
    private static final int COLLECTIONS = 5;
    private static final long COLLECTION_NANOS = 50_000_000L;

    /** Launches of a kernel in a step that are recorded; later ones share the last record. */
    private static final int RECORDED = 2048;
    /** No parameter is this. */
    private static final long UNSET = Long.MIN_VALUE;

    private static final String OPTIONS = "-cl-std=CL1.2";
    /** Of cl_nv_device_attribute_query: what NVIDIA calls 8.0 (Ampere) and more has products of bfloat16. */
    private static final int COMPUTE_CAPABILITY_MAJOR = 0x4000;

    private static final int BFLOAT16_CAPABILITY = 8;

    /**
     * A device as its platform tells of it.
     *
     * @param index among the devices of {@link #list}
     * @param type {@code gpu}, {@code cpu} or {@code accelerator}
     */
    public record Info(
            int index,
            String platform,
            String name,
            String driver,
            String version,
            String type,
            long memoryBytes,
            long mostBytes,
            long localBytes,
            int units,
            List<String> extensions) {
        public boolean gpu() {
            return type.equals("gpu");
        }

        @Override
        public String toString() {
            return "opencl:%d %s (%s, %s, driver %s)".formatted(index, name, platform, version, driver);
        }
    }

    private record Found(_cl_platform_id platform, _cl_device_id device) {}

    private static final class Held implements Memory {
        final _cl_mem handle;
        final long bytes;
        /** Handles come again, numbers do not. */
        final long number;

        Held(_cl_mem handle, long bytes, long number) {
            this.handle = handle;
            this.bytes = bytes;
            this.number = number;
        }

        @Override
        public long bytes() {
            return bytes;
        }
    }

    private record Queued(_cl_event handle) implements Event {
        @Override
        public void close() {
            clReleaseEvent(handle);
        }
    }

    /** Memory whose owner is gone; released by the thread that uses the device. */
    private record Orphan(_cl_mem handle, long bytes) {}

    /** A kernel's launches, of which every {@value #TIMED}th is timed. */
    private static final class Times {
        private long launches;
        private long timed;
        private long nanos;
        private double flops;
        private double bytes;

        /** Counts a launch, and says whether to time it. */
        synchronized boolean add(Launch launch) {
            flops += launch.flops();
            bytes += launch.bytes();
            return launches++ % TIMED == 0;
        }

        synchronized void took(long taken) {
            timed++;
            nanos += taken;
        }

        synchronized KernelTime of(String kernel) {
            double seconds = timed == 0 ? 0 : nanos / 1e9 / timed * launches;
            return new KernelTime(kernel, launches, seconds, flops, bytes);
        }
    }

    /** A launch that is being timed. */
    private record Pending(_cl_event event, Times times) {}

    /** A kernel as the driver has built it, and its launches of one step after another. */
    private static final class Built {
        final _cl_program program;
        final Translator.Source source;
        final List<Recorded> tape = new ArrayList<>();
        /** Launches since the step began. */
        int next;

        Built(_cl_program program, Translator.Source source) {
            this.program = program;
            this.source = source;
        }
    }

    /**
     * A launch at its place in a step, with a kernel object of its own, which remembers its parameters: where a step is like the one
     * before it, nothing but the launch itself is said again.
     *
     * @param values of the parameters, two of an array
     */
    private record Recorded(_cl_kernel kernel, long[] values) {
        /** Whether a parameter is another than before. */
        boolean changes(int place, long value) {
            boolean changed = values[place] != value;
            values[place] = value;
            return changed;
        }
    }

    private final Info info;
    private final _cl_device_id device;
    private final _cl_context context;
    private final _cl_command_queue queue;
    /** For what is written beside the kernels. */
    private final _cl_command_queue transfers;

    private final Map<String, Built> built = new HashMap<>();
    private final List<_cl_program> programs = new ArrayList<>();
    private final Queue<Orphan> orphans = new ConcurrentLinkedQueue<>();
    private final Map<String, Times> times = new ConcurrentHashMap<>();
    private final List<Pending> pending = new ArrayList<>();
    private long allocated;
    private long allocations;
    private long parameters;
    private final BytePointer staging = new BytePointer(STAGING);
    private final BytePointer argument = new BytePointer(8);
    private final PointerPointer<Pointer> handle = new PointerPointer<>(1);
    private final SizeTPointer global = new SizeTPointer(2);
    private final SizeTPointer local = new SizeTPointer(2);
    private int staged;
    private long written;
    private long read;
    private long launches;
    private boolean closed;

    private OpenClDevice(Info info, Found found) {
        this.info = info;
        this.device = found.device;
        int[] error = new int[1];
        SizeTPointer properties = new SizeTPointer(3);
        properties.put(0, CL_CONTEXT_PLATFORM).put(1, found.platform.address()).put(2, 0);
        context = clCreateContext(properties, 1, new PointerPointer<>(1).put(device), null, null, error);
        check(error[0], "create a context");
        queue = clCreateCommandQueue(context, device, CL_QUEUE_PROFILING_ENABLE, error);
        check(error[0], "create a queue");
        transfers = clCreateCommandQueue(context, device, 0, error);
        check(error[0], "create a queue for transfers");
    }

    /** What OpenCL's loader finds, GPUs first. */
    public static List<Info> list() {
        List<Info> infos = new ArrayList<>();
        List<Found> found = find();
        for (int i = 0; i < found.size(); i++) {
            infos.add(info(i, found.get(i)));
        }
        return infos;
    }

    /** @throws IllegalArgumentException naming the devices that there are */
    public static OpenClDevice open(int index) {
        List<Found> found = find();
        require(index, found.size());
        return new OpenClDevice(info(index, found.get(index)), found.get(index));
    }

    /** @throws IllegalArgumentException naming the devices that there are */
    public static void require(int index) {
        require(index, find().size());
    }

    private static void require(int index, int found) {
        if (index < 0 || index >= found) {
            throw new IllegalArgumentException("Cannot use device opencl:%d: found %s"
                    .formatted(index, found == 0 ? "no OpenCL device on this machine" : list()));
        }
    }

    private static List<Found> find() {
        List<Found> found = new ArrayList<>();
        try (IntPointer count = new IntPointer(1)) {
            // A loader without drivers says so by an error.
            if (clGetPlatformIDs(0, (PointerPointer<?>) null, count) != CL_SUCCESS) {
                return found;
            }
            int platforms = count.get();
            PointerPointer<_cl_platform_id> ids = new PointerPointer<>(Math.max(1, platforms));
            clGetPlatformIDs(platforms, ids, (IntPointer) null);
            for (int p = 0; p < platforms; p++) {
                _cl_platform_id platform = ids.get(_cl_platform_id.class, p);
                if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, (PointerPointer<?>) null, count) != CL_SUCCESS) {
                    continue;
                }
                int devices = count.get();
                PointerPointer<_cl_device_id> devicesOf = new PointerPointer<>(Math.max(1, devices));
                clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, devices, devicesOf, (IntPointer) null);
                for (int d = 0; d < devices; d++) {
                    found.add(new Found(platform, devicesOf.get(_cl_device_id.class, d)));
                }
            }
        } catch (LinkageError e) {
            // The binding has libraries for linux-x86_64 only.
            return found;
        }
        // GPUs first, so that the number of a GPU does not depend on what else is installed.
        found.sort(Comparator.comparing(one -> (number(one.device, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_GPU) != 0 ? 0 : 1));
        return found;
    }

    private static Info info(int index, Found found) {
        _cl_device_id device = found.device;
        long type = number(device, CL_DEVICE_TYPE);
        String kind =
                (type & CL_DEVICE_TYPE_GPU) != 0 ? "gpu" : (type & CL_DEVICE_TYPE_CPU) != 0 ? "cpu" : "accelerator";
        try (SizeTPointer size = new SizeTPointer(1)) {
            clGetPlatformInfo(found.platform, CL_PLATFORM_NAME, 0, null, size);
            BytePointer name = new BytePointer(size.get());
            clGetPlatformInfo(found.platform, CL_PLATFORM_NAME, size.get(), name, null);
            return new Info(
                    index,
                    name.getString().trim(),
                    text(device, CL_DEVICE_NAME),
                    text(device, CL_DRIVER_VERSION),
                    text(device, CL_DEVICE_VERSION).trim(),
                    kind,
                    number(device, CL_DEVICE_GLOBAL_MEM_SIZE),
                    number(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE),
                    number(device, CL_DEVICE_LOCAL_MEM_SIZE),
                    (int) number(device, CL_DEVICE_MAX_COMPUTE_UNITS),
                    List.of(text(device, CL_DEVICE_EXTENSIONS).trim().split(" +")));
        }
    }

    private static String text(_cl_device_id device, int what) {
        try (SizeTPointer size = new SizeTPointer(1)) {
            clGetDeviceInfo(device, what, 0, null, size);
            try (BytePointer bytes = new BytePointer(Math.max(1, size.get()))) {
                clGetDeviceInfo(device, what, size.get(), bytes, null);
                return bytes.getString().trim();
            }
        }
    }

    private static long number(_cl_device_id device, int what) {
        try (LongPointer value = new LongPointer(1)) {
            value.put(0);
            clGetDeviceInfo(device, what, 8, value, null);
            return value.get();
        }
    }

    public Info info() {
        return info;
    }

    @Override
    public String describe() {
        return info.toString();
    }

    @Override
    public Forms forms() {
        if (info.type.equals("cpu")) {
            return Forms.CPU;
        }
        boolean matrix = info.extensions.contains("cl_nv_device_attribute_query")
                && number(device, COMPUTE_CAPABILITY_MAJOR) >= BFLOAT16_CAPABILITY;
        return matrix ? Forms.MATRIX : Forms.GPU;
    }

    @Override
    public long memoryBytes() {
        return info.memoryBytes;
    }

    @Override
    public long mostBytes() {
        return info.mostBytes;
    }

    /** Bytes of all memory that has an owner, or had one a moment ago. */
    public long allocatedBytes() {
        return allocated;
    }

    @Override
    public Memory allocate(long bytes) {
        release();
        _cl_mem memory = create(bytes);
        for (int i = 0; i < COLLECTIONS && memory == null; i++) {
            // Owners that are gone may not have been found yet: the heap is small beside what it points to.
            System.gc();
            LockSupport.parkNanos(COLLECTION_NANOS);
            finish();
            release();
            memory = create(bytes);
        }
        if (memory == null) {
            throw new DeviceException(
                    "Cannot allocate %,d bytes on %s: it has %,d, of which one allocation may take %,d"
                            .formatted(bytes, info, info.memoryBytes, info.mostBytes),
                    false);
        }
        allocated += bytes;
        Held held = new Held(memory, bytes, ++allocations);
        CLEANER.register(held, orphan(orphans, new Orphan(memory, bytes)));
        return held;
    }

    private static Runnable orphan(Queue<Orphan> orphans, Orphan orphan) {
        return () -> orphans.add(orphan);
    }

    private @Nullable _cl_mem create(long bytes) {
        int[] error = new int[1];
        _cl_mem memory = clCreateBuffer(context, CL_MEM_READ_WRITE, Math.max(4, bytes), null, error);
        if (error[0] == CL_MEM_OBJECT_ALLOCATION_FAILURE
                || error[0] == CL_OUT_OF_RESOURCES
                || error[0] == CL_INVALID_BUFFER_SIZE) {
            return null;
        }
        check(error[0], "allocate %,d bytes".formatted(bytes));
        return memory;
    }

    private void release() {
        for (Orphan orphan = orphans.poll(); orphan != null; orphan = orphans.poll()) {
            clReleaseMemObject(orphan.handle);
            allocated -= orphan.bytes;
        }
    }

    @Override
    public void write(Memory to, long at, ByteBuffer bytes) {
        ByteBuffer from = bytes.duplicate();
        while (from.hasRemaining()) {
            if (staged == STAGING) {
                finish();
            }
            int count = Math.min(from.remaining(), STAGING - staged);
            BytePointer place = new BytePointer(staging).position(staged);
            place.limit(staged + count).asByteBuffer().put(from.slice(from.position(), count));
            check(
                    clEnqueueWriteBuffer(
                            queue, ((Held) to).handle, CL_FALSE, at, count, place, 0, (_cl_event) null, null),
                    "write " + count + " bytes");
            from.position(from.position() + count);
            at += count;
            // What follows begins on a cache line.
            staged = Math.min(STAGING, staged + count + 63 & -64);
            written += count;
        }
    }

    @Override
    public void read(Memory from, long at, ByteBuffer bytes) {
        int count = bytes.remaining();
        try (BytePointer target = new BytePointer(Math.max(1, count))) {
            check(
                    clEnqueueReadBuffer(
                            queue, ((Held) from).handle, CL_TRUE, at, count, target, 0, (_cl_event) null, null),
                    "read " + count + " bytes");
            bytes.duplicate().put(target.limit(count).asByteBuffer());
        }
        staged = 0;
        read += count;
        takeTimes();
        // What comes next is another step.
        built.values().forEach(kernel -> kernel.next = 0);
    }

    /** Everything that was queued has been done. */
    private void takeTimes() {
        try (LongPointer moment = new LongPointer(1)) {
            for (Pending launch : pending) {
                check(clGetEventProfilingInfo(launch.event, CL_PROFILING_COMMAND_START, 8, moment, null), "time");
                long start = moment.get();
                check(clGetEventProfilingInfo(launch.event, CL_PROFILING_COMMAND_END, 8, moment, null), "time");
                launch.times.took(moment.get() - start);
                clReleaseEvent(launch.event);
            }
        }
        pending.clear();
    }

    @Override
    public List<KernelTime> kernelTimes() {
        return times.entrySet().stream()
                .map(entry -> entry.getValue().of(entry.getKey()))
                .sorted(Comparator.comparing(KernelTime::seconds).reversed())
                .toList();
    }

    @Override
    public Event writeBeside(Memory to, long at, ByteBuffer bytes, @Nullable Event after) {
        _cl_event before = after == null ? null : ((Queued) after).handle;
        if (before != null) {
            // Nobody else may send off what is waited for.
            check(clFlush(queue), "flush");
        }
        check(
                clEnqueueWriteBuffer(
                        transfers,
                        ((Held) to).handle,
                        CL_FALSE,
                        at,
                        bytes.remaining(),
                        new BytePointer(bytes),
                        before == null ? 0 : 1,
                        before == null ? null : new PointerPointer<>(1).put(before),
                        handle),
                "write " + bytes.remaining() + " bytes beside");
        check(clFlush(transfers), "flush");
        written += bytes.remaining();
        return new Queued(new _cl_event(handle.get(0)));
    }

    @Override
    public Event mark() {
        check(clEnqueueMarkerWithWaitList(queue, 0, (PointerPointer<?>) null, handle), "mark");
        return new Queued(new _cl_event(handle.get(0)));
    }

    @Override
    public void await(Event event) {
        PointerPointer<?> events = new PointerPointer<>(1).put(((Queued) event).handle);
        check(clEnqueueBarrierWithWaitList(queue, 1, events, null), "wait");
    }

    private void finish() {
        check(clFinish(queue), "finish");
        staged = 0;
        takeTimes();
    }

    @Override
    public void copy(Memory from, long fromAt, Memory to, long toAt, long bytes) {
        check(
                clEnqueueCopyBuffer(
                        queue,
                        ((Held) from).handle,
                        ((Held) to).handle,
                        fromAt,
                        toAt,
                        bytes,
                        0,
                        (_cl_event) null,
                        null),
                "copy " + bytes + " bytes");
    }

    @Override
    public void run(Launch launch) {
        if (launch.groupsX() == 0 || launch.groupsY() == 0) {
            return;
        }
        Built kernel = built.computeIfAbsent(launch.toString(), key -> build(source(launch)));
        Recorded recorded = recorded(kernel);
        int place = 0;
        for (Translator.Parameter parameter : kernel.source.parameters()) {
            switch (parameter.kind()) {
                case INT -> setInt(recorded, place++, (Integer) launch.value(parameter.name()));
                case FLOAT -> setInt(
                        recorded, place++, Float.floatToRawIntBits((Float) launch.value(parameter.name())));
                case ARRAY -> {
                    View view = (View) launch.value(parameter.name());
                    setArray(recorded, place, view, parameter.elementBytes());
                    place += 2;
                }
                case LOCAL -> {
                    int bytes = launch.localBytes(parameter);
                    if (recorded.changes(place, bytes)) {
                        set(recorded, place, bytes, null);
                    }
                    place++;
                }
            }
        }
        setInt(recorded, place, 0);
        global.put(0, (long) launch.groupsX() * launch.width()).put(1, (long) launch.groupsY() * launch.depth());
        local.put(0, launch.width()).put(1, launch.depth());
        Times mine = times.computeIfAbsent(launch.toString(), key -> new Times());
        PointerPointer<?> event = mine.add(launch) ? handle : null;
        check(
                clEnqueueNDRangeKernel(
                        queue, recorded.kernel, 2, null, global, local, 0, (PointerPointer<?>) null, event),
                "run " + launch);
        if (event != null) {
            pending.add(new Pending(new _cl_event(handle.get(0)), mine));
        }
        launches++;
    }

    private static Translator.Source source(Launch launch) {
        return launch.form().isEmpty()
                ? Translator.translate(launch.family(), launch.entry())
                : Translator.tuned(launch.family(), launch.entry(), launch.form());
    }

    /** The record of the launch that comes now. */
    private Recorded recorded(Built kernel) {
        int place = Math.min(kernel.next++, RECORDED - 1);
        if (place == kernel.tape.size()) {
            int[] error = new int[1];
            _cl_kernel made = clCreateKernel(kernel.program, kernel.source.name(), error);
            check(error[0], "make the kernel " + kernel.source.name());
            long[] values = new long[2 * kernel.source.parameters().size() + 1];
            Arrays.fill(values, UNSET);
            kernel.tape.add(new Recorded(made, values));
        }
        return kernel.tape.get(place);
    }

    private void setInt(Recorded launch, int place, int bits) {
        if (launch.changes(place, bits)) {
            set(launch, place, 4, argument.putInt(bits));
        }
    }

    private void setArray(Recorded launch, int place, @Nullable View view, int elementBytes) {
        Held held = view == null ? null : (Held) view.memory();
        if (launch.changes(place, held == null ? 0 : held.number)) {
            handle.put(0, held == null ? null : held.handle);
            set(launch, place, 8, handle);
        }
        long at = view == null ? 0 : view.at() / elementBytes;
        if (launch.changes(place + 1, at)) {
            set(launch, place + 1, 8, argument.putLong(at));
        }
    }

    private void set(Recorded launch, int place, int bytes, @Nullable Pointer value) {
        check(clSetKernelArg(launch.kernel, place, bytes, value), "set parameter " + place);
        parameters++;
    }

    private Built build(Translator.Source source) {
        byte[] text = source.text().getBytes(StandardCharsets.US_ASCII);
        _cl_program program;
        try (IntPointer created = new IntPointer(1)) {
            program = clCreateProgramWithSource(
                    context,
                    1,
                    new PointerPointer<>(1).put(new BytePointer(text)),
                    new SizeTPointer(1).put(text.length),
                    created);
            check(created.get(), "read the kernel " + source.name());
        }
        programs.add(program);
        int result = CL_BUILD_PROGRAM_FAILURE;
        // A compiler in our process that is made of LLVM, as PoCL's is, removes its temporary files on SIGSEGV, by
        // which HotSpot
        // stops threads and finds nulls; the build then fails for want of a file.
        for (int i = 0; i < BUILDS && result == CL_BUILD_PROGRAM_FAILURE; i++) {
            synchronized (OpenClDevice.class) {
                result = clBuildProgram(program, 1, device, OPTIONS, null, null);
            }
        }
        if (result != CL_SUCCESS) {
            throw new DeviceException(
                    "Cannot build the kernel %s for %s: %s\n%s"
                            .formatted(source.name(), info, name(result), log(program)),
                    false);
        }
        return new Built(program, source);
    }

    /** The first lines of what the device's compiler said. */
    private String log(_cl_program program) {
        try (SizeTPointer size = new SizeTPointer(1)) {
            clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, null, size);
            try (BytePointer log = new BytePointer(Math.max(1, size.get()))) {
                clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size.get(), log, null);
                return String.join("\n", log.getString().lines().limit(12).toList());
            }
        }
    }

    private void check(int result, String what) {
        if (result != CL_SUCCESS) {
            // What NVIDIA's driver answers once a context is gone.
            boolean lost = result == CL_DEVICE_NOT_AVAILABLE
                    || result == CL_INVALID_CONTEXT
                    || result == CL_INVALID_COMMAND_QUEUE
                    || result == CL_OUT_OF_RESOURCES
                    || result == -9999;
            throw new DeviceException("Cannot %s on %s: %s".formatted(what, info, name(result)), lost);
        }
    }

    private static String name(int result) {
        return switch (result) {
            case CL_DEVICE_NOT_FOUND -> "device not found";
            case CL_DEVICE_NOT_AVAILABLE -> "device not available";
            case CL_COMPILER_NOT_AVAILABLE -> "compiler not available";
            case CL_MEM_OBJECT_ALLOCATION_FAILURE -> "out of device memory";
            case CL_OUT_OF_RESOURCES -> "out of resources";
            case CL_OUT_OF_HOST_MEMORY -> "out of host memory";
            case CL_BUILD_PROGRAM_FAILURE -> "build failed";
            case CL_INVALID_WORK_GROUP_SIZE -> "work-group too large";
            default -> String.format(Locale.ROOT, "OpenCL error %d", result);
        };
    }

    @Override
    public Traffic traffic() {
        return new Traffic(written, read, launches, parameters);
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        clFinish(transfers);
        clFinish(queue);
        release();
        built.values().forEach(kernel -> kernel.tape.forEach(launch -> clReleaseKernel(launch.kernel)));
        programs.forEach(program -> clReleaseProgram(program));
        clReleaseCommandQueue(transfers);
        clReleaseCommandQueue(queue);
        clReleaseContext(context);
        staging.close();
    }
}
