package io.nightmill.kernels;

import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_DST;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SCRATCHPAD;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SRC;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_WEIGHTS;
import static org.bytedeco.dnnl.global.dnnl.dnnl_cpu_isa_avx512_core_bf16;
import static org.bytedeco.dnnl.global.dnnl.dnnl_cpu_isa_avx512_core_vnni;
import static org.bytedeco.dnnl.global.dnnl.dnnl_get_effective_cpu_isa;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_set_data_handle;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_execute;

import io.nightmill.kernels.Backend.Product;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.memory;
import org.bytedeco.dnnl.reorder;
import org.bytedeco.dnnl.stream;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;

/**
 * Products through oneDNN, which uses the CPU's matrix or dot-product instructions. Weights are rounded and brought into the
 * library's layout once. An output's bits depend on its row and its weight alone; see {@link NativeShape}. Our threads call
 * the library, each with a stream of its own, under {@code OMP_NUM_THREADS=1}.
 */
final class NativeMatmul {
    /** Outputs of one call. */
    private static final int COLUMNS = 512;

    /** Half as many cost 7% of large products (3072 inputs, Zen 4), but what is made of codes has to fit. */
    private static final int LEAST_COLUMNS = 128;

    private static final int LEAST_CODE_COLUMNS = 64;
    /** Rows that a task takes with the same weights. */
    private static final int TASK_ROWS = 4 * NativeShape.ROWS;
    /** Rows whose product may wait for weights instead of the core's arithmetic. */
    private static final int FEW_ROWS = 2;
    /** Rows of a weight that are copied at once. */
    private static final int STORED_ROWS = 64;

    private static final Map<Long, NativeShape> SHAPES = new ConcurrentHashMap<>();
    private static final ThreadLocal<Context> CONTEXTS = ThreadLocal.withInitial(Context::new);

    /** Bytes that a chunk takes at most, if it can: what a core's cache holds. */
    private static final int TILE_BYTES = 1 << 20;

    private final Products arithmetic;
    /** Whether products are of bytes. */
    private final boolean bytes;

    private final Lanes lanes;
    private final NativeMemory packed = new NativeMemory();
    private final Map<Matrix, Weight> prepared = new IdentityHashMap<>();
    private final Source source = new Source();
    /** Whether weights that are not made of codes are read before a product of few rows. */
    private final Trial readsAhead = new Trial();
    /** Where a thread copies stored weights, and rounds them before they are brought into the library's layout. */
    private final ThreadLocal<ByteBuffer> stored = ThreadLocal.withInitial(() -> direct(0));

    private final ThreadLocal<ByteBuffer> rounding = ThreadLocal.withInitial(() -> direct(0));

    /**
     * A weight in the library's layout.
     *
     * @param factors of each output's bytes, or empty
     */
    record Weight(List<Chunk> chunks, float[] factors) {}

    /** Activations in the library's form: rows of {@code in} bfloat16, or of {@code in} high bytes and as many low ones. */
    static final class Source {
        private ByteBuffer values = direct(0);
        private BytePointer pointer = new BytePointer(values);
        /** Of rows of bytes. */
        private float[] factors = new float[0];

        /** With room behind the rows for those that a call may be padded with. */
        void reserve(int rows, int in) {
            int needed = Math.multiplyExact(rows + NativeShape.ROWS, 2 * in);
            if (values.capacity() < needed) {
                values = direct(needed);
                pointer = new BytePointer(values);
            }
            if (factors.length < rows) {
                factors = new float[rows];
            }
        }

        void copy(int to, Source from, int row, int in) {
            values.put(2 * to * in, from.values, 2 * row * in, 2 * in);
            factors[to] = from.factors[row];
        }
    }

    /** Some outputs of a weight. */
    record Chunk(int first, NativeShape shape, Values values) {
        int end() {
            return first + shape.columns;
        }
    }

    /** Values in the library's layout. */
    interface Values {
        /** Until this thread's next call for other values of the same shape. */
        dnnl_memory in(Context context);

        /** What may be read before a product of few rows, or null. */
        default @Nullable ByteBuffer ahead() {
            return null;
        }
    }

    /**
     * Values that stay in the library's layout.
     *
     * @param ahead all of them, where a core's cache holds so many
     */
    private record Stored(memory values, dnnl_memory handle, @Nullable ByteBuffer ahead) implements Values {
        @Override
        public dnnl_memory in(Context context) {
            return handle;
        }
    }

    /** What one call of the library works on: a thread's own memory. */
    static final class Context {
        private final stream stream = new stream(NativeShape.CPU);
        private final dnnl_stream handle = stream.get();
        private final Map<NativeShape.Primitive, Call> calls = new IdentityHashMap<>();
        private final Map<NativeShape, NativeCodes.Tile> tiles = new IdentityHashMap<>();
        private BytePointer at = new BytePointer();
        private ByteBuffer results = direct(0);

        NativeCodes.Tile tile(NativeShape shape) {
            return tiles.computeIfAbsent(shape, NativeCodes.Tile::new);
        }

        /** @param floats the same memory as {@code values} */
        record Call(
                dnnl_primitive primitive,
                memory source,
                dnnl_memory sourceHandle,
                memory scratchpad,
                memory result,
                ByteBuffer values,
                FloatBuffer floats,
                BytePointer valuesPointer,
                dnnl_exec_arg_t arguments) {}

        private Call call(NativeShape shape, NativeShape.Primitive p) {
            results = atLeast(results, 2 * 4 * p.rows() * shape.columns);
            ByteBuffer values = results;
            BytePointer pointer = new BytePointer(values);
            memory from = new memory(p.source(), NativeShape.CPU, pointer);
            memory to = new memory(p.result(), NativeShape.CPU, pointer);
            memory scratchpad = new memory(p.scratchpad(), NativeShape.CPU);
            dnnl_exec_arg_t arguments = new dnnl_exec_arg_t(4);
            arguments.position(0).arg(DNNL_ARG_SRC).memory(from.get());
            arguments.position(1).arg(DNNL_ARG_DST).memory(to.get());
            arguments.position(2).arg(DNNL_ARG_SCRATCHPAD).memory(scratchpad.get());
            arguments.position(3).arg(DNNL_ARG_WEIGHTS);
            return new Call(
                    p.code().get(),
                    from,
                    from.get(),
                    scratchpad,
                    to,
                    values,
                    values.asFloatBuffer(),
                    pointer,
                    arguments);
        }

        /** With {@code [rows, columns]} of the result, float32 or int32, until this thread's next call. */
        Call run(NativeShape shape, NativeShape.Primitive p, BytePointer rows, long offset, dnnl_memory weights) {
            Call call = calls.computeIfAbsent(p, key -> call(shape, key));
            if (at.address() != rows.address()) {
                at = new BytePointer(rows);
            }
            dnnl_memory_set_data_handle(call.sourceHandle, at.position(offset));
            at.position(0);
            call.arguments.position(3).memory(weights);
            int status = dnnl_primitive_execute(call.primitive, handle, 4, call.arguments.position(0));
            if (status != 0) {
                throw new IllegalStateException("oneDNN failed with status %d for %d rows by [%d, %d]"
                        .formatted(status, p.rows(), shape.in, shape.columns));
            }
            return call;
        }
    }

    /** @throws UnsupportedOperationException saying why this CPU is better served without the library */
    NativeMatmul(Products products, Lanes lanes) {
        this.arithmetic = products;
        this.bytes = products != Products.BF16;
        this.lanes = lanes;
        if (!mayHaveAvx512()) {
            throw new UnsupportedOperationException("this CPU has no AVX-512");
        }
        int isa = dnnl_get_effective_cpu_isa();
        int needed = bytes ? dnnl_cpu_isa_avx512_core_vnni : dnnl_cpu_isa_avx512_core_bf16;
        if ((isa & needed) != needed) {
            throw new UnsupportedOperationException("this CPU has no %s instructions (oneDNN's isa is 0x%x)"
                    .formatted(bytes ? "integer dot-product" : "bfloat16", isa));
        }
        if (products == Products.INT4) {
            shape(1024, COLUMNS).lines();
        }
    }

    /** What the system says, where it does: asking the library takes the 28 MB that it is loaded in. */
    private static boolean mayHaveAvx512() {
        try {
            return Files.readString(Path.of("/proc/cpuinfo")).contains("avx512f");
        } catch (IOException e) {
            return true;
        }
    }

    /** What the numerics depend on. */
    String name() {
        return "onednn-" + arithmetic.name().toLowerCase(Locale.ROOT);
    }

    /** Memory on a cache line; an aligned slice is cut at both ends, so there is a line to spare. */
    static ByteBuffer direct(int bytes) {
        return ByteBuffer.allocateDirect((bytes + 63) / 64 * 64 + 64)
                .alignedSlice(64)
                .order(ByteOrder.nativeOrder());
    }

    /** This thread's. */
    static Context context() {
        return CONTEXTS.get();
    }

    /** The memory itself if it is large enough, else other. */
    private static ByteBuffer atLeast(ByteBuffer memory, int bytes) {
        return memory.capacity() < bytes ? direct(bytes) : memory;
    }

    static void reorder(memory from, memory to) {
        Context context = context();
        new reorder(from, to).execute(context.stream, from, to);
        context.stream._wait();
    }

    /** Whether a weight's products are computed here: a property of the weight alone. */
    static boolean serves(Matrix w) {
        return Products.rounds(w);
    }

    /** Rows of one group meet some outputs of one weight. */
    private record Task(Product product, int group, Weight weight, Chunk chunk, int from, int to) {}

    /** {@link Backend#matmul} for weights that are served. Called by one thread at a time. */
    void multiply(float[] x, int xo, int xs, int[] starts, List<Product> products, Workers workers) {
        List<Task> tasks = new ArrayList<>();
        for (Product product : products) {
            for (int g = 0; g < product.weights().size(); g++) {
                if (starts[g] == starts[g + 1]) {
                    continue;
                }
                Weight weight = weight(product.weights().get(g), workers);
                for (Chunk chunk : weight.chunks) {
                    for (int from = starts[g]; from < starts[g + 1]; from += TASK_ROWS) {
                        int to = Math.min(starts[g + 1], from + TASK_ROWS);
                        tasks.add(new Task(product, g, weight, chunk, from, to));
                    }
                }
            }
        }
        int in = products.get(0).weights().get(0).in();
        bring(x, xo, xs, starts[starts.length - 1], in, workers);
        workers.run(tasks.size(), t -> run(tasks.get(t)));
    }

    /** Rows in the library's form, until the next call. */
    Source bring(float[] x, int xo, int xs, int rows, int in, Workers workers) {
        source.reserve(rows, in);
        int perTask = Math.max(1, 16384 / in);
        workers.run((rows + perTask - 1) / perTask, task -> {
            for (int i = task * perTask; i < Math.min(rows, (task + 1) * perTask); i++) {
                bring(source, i, x, xo + i * xs, in);
            }
        });
        return source;
    }

    void bring(Source to, int row, float[] x, int xo, int in) {
        if (bytes) {
            to.factors[row] = lanes.toIntegers(x, xo, in, to.values, 2 * row * in);
        } else {
            lanes.toBf16(x, xo, in, to.values, 2 * row * in);
        }
    }

    private void run(Task task) {
        Product product = task.product;
        float[] out = HostBuffer.values(product.out());
        int os = product.out().width();
        for (int from = task.from; from < task.to; from += NativeShape.ROWS) {
            int count = Math.min(NativeShape.ROWS, task.to - from);
            int at = HostBuffer.offset(product.out()) + from * os + product.column();
            multiply(source, from, count, task.weight, task.chunk, product.biases(), task.group, out, at, os);
        }
    }

    /**
     * {@code out[i, first + n] = rows[from + i] . weight[first + n] + biases[group, first + n]} for a chunk's outputs and up to 64
     * rows.
     */
    void multiply(
            Source rows,
            int from,
            int count,
            Weight weight,
            Chunk chunk,
            @Nullable Tensor biases,
            int group,
            float[] out,
            int oo,
            int os) {
        NativeShape shape = chunk.shape;
        ByteBuffer ahead = count <= FEW_ROWS ? chunk.values.ahead() : null;
        Context.Call result = ahead == null ? run(rows, from, count, chunk) : few(rows, from, count, chunk, ahead);
        for (int i = 0; i < count; i++) {
            int to = oo + i * os + chunk.first;
            if (bytes) {
                int high = 2 * i * shape.columns * 4;
                int low = high + shape.columns * 4;
                float factor = rows.factors[from + i];
                lanes.fromIntegers(
                        result.values, high, low, factor, weight.factors, chunk.first, shape.columns, out, to);
            } else {
                result.floats.get(i * shape.columns, out, to, shape.columns);
            }
        }
        HostBackend.addBias(biases, group, chunk.first, chunk.end(), count, out, oo, os);
    }

    private static Context.Call run(Source rows, int from, int count, Chunk chunk) {
        NativeShape shape = chunk.shape;
        Context context = context();
        return context.run(shape, shape.of(count), rows.pointer, 2L * from * shape.in, chunk.values.in(context));
    }

    private Context.Call few(Source rows, int from, int count, Chunk chunk, ByteBuffer weights) {
        boolean reads = readsAhead.next();
        long start = System.nanoTime();
        if (reads) {
            Ahead.read(weights, 0, weights.capacity());
        }
        Context.Call result = run(rows, from, count, chunk);
        readsAhead.took(reads, System.nanoTime() - start, weights.capacity());
        return result;
    }

    /** All outputs of a weight that has been used before, for up to 64 rows. */
    void multiply(Source rows, int count, Matrix w, @Nullable Tensor biases, int group, float[] out, int oo, int os) {
        Weight weight = prepared(w);
        for (Chunk chunk : weight.chunks) {
            multiply(rows, 0, count, weight, chunk, biases, group, out, oo, os);
        }
    }

    /** A weight that has been used before, for any thread while none is new. */
    Weight prepared(Matrix w) {
        return prepared.get(w);
    }

    Weight weight(Matrix w, Workers workers) {
        Weight found = prepared.get(w);
        if (found == null) {
            found = prepare(w, workers);
            prepared.put(w, found);
        }
        return found;
    }

    private Weight prepare(Matrix w, Workers workers) {
        boolean rounds = arithmetic == Products.INT4 && w.in() % NativeCodes.GROUP == 0;
        int fitting = Integer.highestOneBit(TILE_BYTES / valueBytes(w.in()));
        int most = Math.min(COLUMNS, Math.max(rounds ? LEAST_CODE_COLUMNS : LEAST_COLUMNS, fitting));
        int count = (w.out() + most - 1) / most;
        Chunk[] chunks = new Chunk[count];
        float[] scales = new float[bytes ? w.out() : 0];
        workers.run(count, c -> {
            int first = c * most;
            NativeShape shape = shape(w.in(), Math.min(most, w.out() - first));
            chunks[c] =
                    new Chunk(first, shape, rounds ? codes(w, first, shape, scales) : stored(w, first, shape, scales));
        });
        return new Weight(List.of(chunks), scales);
    }

    private int valueBytes(int count) {
        return count * (bytes ? 1 : 2);
    }

    /** Rows of a weight as bytes, whose factors go to {@code scales}, or as bfloat16; until this thread's next. */
    private ByteBuffer rounded(Matrix w, int first, int count, float[] scales) {
        int in = w.in();
        ByteBuffer rounded = reserve(rounding, valueBytes(count * in));
        if (!bytes && w.format() == Format.BF16 && w.scales() == null) {
            w.copy(first, count, rounded);
            return rounded;
        }
        ByteBuffer source = reserve(stored, STORED_ROWS * w.rowBytes());
        float[] row = new float[in];
        for (int from = 0; from < count; from += STORED_ROWS) {
            Matrix rows = w.copy(first + from, Math.min(STORED_ROWS, count - from), source);
            for (int i = 0; i < rows.out(); i++) {
                int n = from + i;
                Unpack.row(rows, i, row, 0);
                if (bytes) {
                    float scale = Unpack.byteFactor(row, 0, in);
                    scales[first + n] = scale;
                    for (int k = 0; k < in; k++) {
                        rounded.put(n * in + k, Unpack.toByte(row[k], scale));
                    }
                } else {
                    lanes.toBf16(row, 0, in, rounded, 2 * n * in);
                }
            }
        }
        return rounded;
    }

    private static ByteBuffer reserve(ThreadLocal<ByteBuffer> buffer, int bytes) {
        buffer.set(atLeast(buffer.get(), bytes));
        return buffer.get();
    }

    private NativeShape shape(int in, int columns) {
        long key = ((long) in << 32 | columns) * 2 + (bytes ? 1 : 0);
        return SHAPES.computeIfAbsent(key, k -> new NativeShape(in, columns, bytes));
    }

    private Values codes(Matrix w, int first, NativeShape shape, float[] scales) {
        Matrix rows = w.copy(first, shape.columns, reserve(stored, shape.columns * w.rowBytes()));
        ByteBuffer bytes = reserve(rounding, shape.in * shape.columns);
        return new NativeCodes(rows, shape, bytes, scales, first, packed, context(), lanes);
    }

    private Values stored(Matrix w, int first, NativeShape shape, float[] scales) {
        ByteBuffer place = packed.allocate(shape.bytes());
        memory values = new memory(shape.weights(), NativeShape.CPU, new BytePointer(place));
        shape.reorder(rounded(w, first, shape.columns, scales), values);
        boolean fits = valueBytes(shape.in * shape.columns) <= TILE_BYTES;
        return new Stored(values, values.get(), fits ? place : null);
    }
}
