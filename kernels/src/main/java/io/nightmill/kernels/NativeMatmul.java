package io.nightmill.kernels;

import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_DST;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SRC;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_WEIGHTS;
import static org.bytedeco.dnnl.global.dnnl.dnnl_cpu_isa_avx512_core_bf16;
import static org.bytedeco.dnnl.global.dnnl.dnnl_get_effective_cpu_isa;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.dnnl.IntMemoryMap;
import org.bytedeco.dnnl.engine;
import org.bytedeco.dnnl.matmul;
import org.bytedeco.dnnl.memory;
import org.bytedeco.dnnl.primitive_attr;
import org.bytedeco.dnnl.reorder;
import org.bytedeco.dnnl.stream;
import org.bytedeco.javacpp.BytePointer;

/**
 * Products in bfloat16 with float32 sums through oneDNN, which uses the CPU's matrix or dot-product instructions. Weights are
 * reordered once into the library's layout. Every call has the same shape, {@value #TILE} rows by a fixed cut of columns, so
 * a row's bits cannot depend on how many rows there are or on the thread count; missing rows are zeros.
 */
final class NativeMatmul {
    private static final int TILE = 16;
    private static final int COLUMNS = 512;
    /** Smaller weights, such as routers, stay in float32. */
    private static final long LEAST_VALUES = 1 << 16;

    private final engine cpu = new engine(engine.kind.cpu, 0);
    private final ThreadLocal<stream> streams = ThreadLocal.withInitial(() -> new stream(cpu));
    private final Map<Matrix, List<Chunk>> prepared = new IdentityHashMap<>();
    private ByteBuffer source = direct(0);
    private BytePointer sourcePointer = new BytePointer(source);

    /** Some columns of a product. A chunk is run by one thread at a time. */
    private record Chunk(
            int first, int columns, matmul primitive, memory from, FloatBuffer result, IntMemoryMap arguments) {}

    /** @throws UnsupportedOperationException saying why this CPU is better served without the library */
    NativeMatmul() {
        int isa = dnnl_get_effective_cpu_isa();
        if ((isa & dnnl_cpu_isa_avx512_core_bf16) != dnnl_cpu_isa_avx512_core_bf16) {
            throw new UnsupportedOperationException(
                    "this CPU has no bfloat16 instructions (oneDNN's isa is 0x%x)".formatted(isa));
        }
    }

    /** Memory on a cache line; an aligned slice is cut at both ends, so there is a line to spare. */
    private static ByteBuffer direct(int bytes) {
        return ByteBuffer.allocateDirect((bytes + 63) / 64 * 64 + 64)
                .alignedSlice(64)
                .order(ByteOrder.nativeOrder());
    }

    /** Whether a weight's products are computed here: a property of the weight alone. */
    static boolean serves(Matrix w) {
        return w.format() == Format.BF16
                && w.scales() == null
                && w.panels().size() == 1
                && (long) w.out() * w.in() >= LEAST_VALUES;
    }

    /** {@code out[i, n] = sum_k x[i, k] w[n, k]} with {@code x} rounded to bfloat16. Called by one thread at a time. */
    void multiply(float[] x, int xo, int xs, int rows, Matrix w, float[] out, int oo, int os, Workers workers) {
        List<Chunk> chunks = prepared.computeIfAbsent(w, this::prepare);
        int tiles = (rows + TILE - 1) / TILE;
        int rowBytes = 2 * w.in();
        if (source.capacity() < tiles * TILE * rowBytes) {
            source = direct(tiles * TILE * rowBytes);
            sourcePointer = new BytePointer(source);
        }
        ByteBuffer into = source;
        workers.run(tiles * TILE, i -> {
            for (int k = 0; k < w.in(); k++) {
                int bits = i < rows ? Float.floatToRawIntBits(x[xo + i * xs + k]) : 0;
                into.putShort(i * rowBytes + 2 * k, (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16));
            }
        });
        BytePointer pointer = sourcePointer;
        workers.run(chunks.size(), c -> {
            Chunk chunk = chunks.get(c);
            stream mine = streams.get();
            try (BytePointer at = new BytePointer(pointer)) {
                for (int tile = 0; tile < tiles; tile++) {
                    at.position((long) tile * TILE * rowBytes);
                    chunk.from.set_data_handle(at);
                    chunk.primitive.execute(mine, chunk.arguments);
                    mine._wait();
                    for (int i = tile * TILE; i < Math.min(rows, (tile + 1) * TILE); i++) {
                        chunk.result.get(
                                (i - tile * TILE) * chunk.columns, out, oo + i * os + chunk.first, chunk.columns);
                    }
                }
            }
        });
    }

    private List<Chunk> prepare(Matrix w) {
        List<Chunk> chunks = new ArrayList<>();
        for (int first = 0; first < w.out(); first += COLUMNS) {
            chunks.add(prepare(w, first, Math.min(COLUMNS, w.out() - first)));
        }
        return chunks;
    }

    private Chunk prepare(Matrix w, int first, int columns) {
        memory.data_type bf16 = memory.data_type.bf16;
        memory.desc weights = new memory.desc(new long[] {w.in(), columns}, bf16, memory.format_tag.any);
        memory.desc rows = new memory.desc(new long[] {TILE, w.in()}, bf16, memory.format_tag.ab);
        memory.desc results = new memory.desc(new long[] {TILE, columns}, memory.data_type.f32, memory.format_tag.ab);
        matmul.primitive_desc shape =
                new matmul.primitive_desc(cpu, rows, weights, results, new primitive_attr(), false);
        ByteBuffer stored = w.panel(first).slice(w.rowOffset(first), columns * w.rowBytes());
        memory plain = new memory(
                new memory.desc(new long[] {w.in(), columns}, bf16, new long[] {1, w.in()}),
                cpu,
                new BytePointer(stored));
        memory reordered = new memory(shape.weights_desc(), cpu);
        stream mine = streams.get();
        new reorder(plain, reordered).execute(mine, plain, reordered);
        mine._wait();
        ByteBuffer result = direct(4 * TILE * columns);
        memory from = new memory(shape.src_desc(), cpu, sourcePointer);
        IntMemoryMap arguments = new IntMemoryMap();
        arguments.put(DNNL_ARG_SRC, from);
        arguments.put(DNNL_ARG_WEIGHTS, reordered);
        arguments.put(DNNL_ARG_DST, new memory(shape.dst_desc(), cpu, new BytePointer(result)));
        return new Chunk(first, columns, new matmul(shape), from, result.asFloatBuffer(), arguments);
    }
}
