package io.nightmill.kernels.gpu;

import com.aparapi.Kernel;
import com.aparapi.internal.kernel.IKernelBarrier;
import java.lang.reflect.Array;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs kernels as the Java that they are, with a thread for each lane of a group. A parameter's array is as long as its tensor,
 * so a lane that reads beyond it fails.
 */
public final class JavaDevice implements Device {
    private final Map<String, Translator.Source> sources = new HashMap<>();
    private final ExecutorService lanes = Executors.newCachedThreadPool();
    private long launches;

    private record Bytes(ByteBuffer buffer) implements Memory {
        @Override
        public long bytes() {
            return buffer.capacity();
        }
    }

    @Override
    public String describe() {
        return "java";
    }

    @Override
    public Forms forms() {
        return Forms.JAVA;
    }

    @Override
    public long memoryBytes() {
        return Runtime.getRuntime().maxMemory();
    }

    /** Small, so that weights come in parts. */
    @Override
    public long mostBytes() {
        return 1 << 19;
    }

    @Override
    public Memory allocate(long bytes) {
        return new Bytes(ByteBuffer.allocate((int) bytes).order(ByteOrder.nativeOrder()));
    }

    @Override
    public void write(Memory to, long at, ByteBuffer bytes) {
        ((Bytes) to).buffer.put((int) at, bytes, bytes.position(), bytes.remaining());
    }

    @Override
    public void read(Memory from, long at, ByteBuffer bytes) {
        bytes.put(bytes.position(), ((Bytes) from).buffer, (int) at, bytes.remaining());
    }

    @Override
    public void copy(Memory from, long fromAt, Memory to, long toAt, long bytes) {
        ((Bytes) to).buffer.put((int) toAt, ((Bytes) from).buffer, (int) fromAt, (int) bytes);
    }

    /** Has come when it is made: everything here is done at once. */
    private record Done() implements Event {
        @Override
        public void close() {}
    }

    @Override
    public Event writeBeside(Memory to, long at, ByteBuffer bytes, Event after) {
        write(to, at, bytes);
        return new Done();
    }

    @Override
    public Event mark() {
        return new Done();
    }

    @Override
    public void await(Event event) {}

    @Override
    public List<KernelTime> kernelTimes() {
        return List.of();
    }

    @Override
    public Traffic traffic() {
        return new Traffic(0, 0, launches, 0);
    }

    @Override
    public void close() {
        lanes.shutdown();
    }

    /** An array that stands for a part of memory while a kernel runs. */
    private record Lent(Bytes memory, int at, Object before, Object array) {
        static Lent of(View view, Class<?> type) {
            Bytes memory = (Bytes) view.memory();
            ByteBuffer bytes =
                    memory.buffer.slice((int) view.at(), (int) view.bytes()).order(ByteOrder.nativeOrder());
            Object array;
            if (type == float.class) {
                float[] floats = new float[bytes.capacity() / 4];
                bytes.asFloatBuffer().get(floats);
                array = floats;
            } else if (type == int.class) {
                int[] ints = new int[bytes.capacity() / 4];
                bytes.asIntBuffer().get(ints);
                array = ints;
            } else if (type == short.class) {
                short[] shorts = new short[bytes.capacity() / 2];
                bytes.asShortBuffer().get(shorts);
                array = shorts;
            } else {
                byte[] all = new byte[bytes.capacity()];
                bytes.get(all);
                array = all;
            }
            int length = Array.getLength(array);
            Object before = Array.newInstance(type, length);
            System.arraycopy(array, 0, before, 0, length);
            return new Lent(memory, (int) view.at(), before, array);
        }

        /** Two parameters may be views of the same memory: only what was written goes back. */
        void giveBack() {
            if (array instanceof float[] now) {
                for (int i = 0; i < now.length; i++) {
                    if (Float.floatToRawIntBits(now[i]) != Float.floatToRawIntBits(((float[]) before)[i])) {
                        memory.buffer.putFloat(at + 4 * i, now[i]);
                    }
                }
            } else if (array instanceof int[] now) {
                for (int i = 0; i < now.length; i++) {
                    if (now[i] != ((int[]) before)[i]) {
                        memory.buffer.putInt(at + 4 * i, now[i]);
                    }
                }
            } else if (array instanceof short[] now) {
                for (int i = 0; i < now.length; i++) {
                    if (now[i] != ((short[]) before)[i]) {
                        memory.buffer.putShort(at + 2 * i, now[i]);
                    }
                }
            } else {
                byte[] now = (byte[]) array;
                for (int i = 0; i < now.length; i++) {
                    if (now[i] != ((byte[]) before)[i]) {
                        memory.buffer.put(at + i, now[i]);
                    }
                }
            }
        }
    }

    @Override
    public void run(Launch launch) {
        launches++;
        DeviceKernel kernel = Translator.instance(launch.family());
        Translator.Source source = sources.computeIfAbsent(
                launch.toString(), key -> Translator.translate(launch.family(), launch.entry()));
        boolean barriers = source.text().contains("barrier(");
        Map<String, Lent> lent = new HashMap<>();
        try {
            for (Translator.Parameter parameter : source.parameters()) {
                Field field = launch.family().getDeclaredField(parameter.name());
                field.setAccessible(true);
                if (parameter.kind() == Translator.Kind.INT || parameter.kind() == Translator.Kind.FLOAT) {
                    field.set(kernel, launch.value(parameter.name()));
                } else if (parameter.kind() == Translator.Kind.ARRAY
                        && launch.value(parameter.name()) instanceof View view) {
                    Lent array = Lent.of(view, field.getType().getComponentType());
                    lent.put(parameter.name(), array);
                    field.set(kernel, array.array);
                }
            }
            Method entry = launch.family().getDeclaredMethod(launch.entry());
            entry.setAccessible(true);
            for (int y = 0; y < launch.groupsY(); y++) {
                for (int x = 0; x < launch.groupsX(); x++) {
                    group(kernel, entry, barriers, x, y, launch.depth());
                }
            }
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("Cannot run " + launch, e);
        }
        lent.values().forEach(Lent::giveBack);
    }

    /** All lanes of a group wait for each other. */
    private record LaneBarrier(CyclicBarrier barrier) implements IKernelBarrier {
        @Override
        public boolean block() throws InterruptedException {
            try {
                // A lane that has failed does not come.
                barrier.await(10, TimeUnit.SECONDS);
                return true;
            } catch (BrokenBarrierException | TimeoutException e) {
                throw new IllegalStateException("Another lane failed", e);
            }
        }

        @Override
        public boolean isReleasable() {
            return false;
        }

        @Override
        public void cancelBarrier() {
            barrier.reset();
        }

        @Override
        public void breakBarrier(Throwable e) {
            barrier.reset();
        }
    }

    private void group(DeviceKernel kernel, Method entry, boolean barriers, int x, int y, int depth)
            throws ReflectiveOperationException {
        int size = DeviceKernel.GROUP * depth;
        CyclicBarrier barrier = new CyclicBarrier(size);
        List<Future<?>> running = new ArrayList<>();
        List<Throwable> failures = new ArrayList<>();
        for (int i = 0; i < size; i++) {
            DeviceKernel lane = (DeviceKernel) kernel.clone();
            Kernel.KernelState state = lane.getKernelState();
            int lx = i % DeviceKernel.GROUP;
            int ly = i / DeviceKernel.GROUP;
            state.setLocalIds(new int[] {lx, ly, 0});
            state.setGroupIds(new int[] {x, y, 0});
            state.setGlobalIds(new int[] {x * DeviceKernel.GROUP + lx, y * depth + ly, 0});
            if (barriers) {
                state.setLocalBarrier(new LaneBarrier(barrier));
                running.add(lanes.submit(() -> {
                    try {
                        return entry.invoke(lane);
                    } catch (ReflectiveOperationException | RuntimeException e) {
                        barrier.reset();
                        throw e;
                    }
                }));
            } else {
                entry.invoke(lane);
            }
        }
        for (Future<?> lane : running) {
            try {
                lane.get();
            } catch (ExecutionException e) {
                failures.add(e.getCause());
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
        if (!failures.isEmpty()) {
            IllegalStateException failure = new IllegalStateException("Lanes of " + entry + " failed");
            failures.forEach(failure::addSuppressed);
            throw failure;
        }
    }
}
