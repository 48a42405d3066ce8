package io.nightmill.kernels;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.IntBinaryOperator;
import org.bytedeco.dnnl.engine;
import org.bytedeco.dnnl.global.dnnl.scratchpad_mode;
import org.bytedeco.dnnl.matmul;
import org.bytedeco.dnnl.memory;
import org.bytedeco.dnnl.primitive_attr;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.LongPointer;
import org.jspecify.annotations.Nullable;

/**
 * oneDNN's products of up to {@value #ROWS} rows with weights {@code [in, columns]}, which all numbers of rows find in the same
 * layout. The library may add in another order for another number of rows (it does for a single one); a number whose results
 * on random rows are not, bit for bit, those of {@value #ROWS} rows is not used, and its rows are padded to one that is.
 */
final class NativeShape {
    static final int ROWS = 64;
    /** Outputs of a line of bytes, four inputs of each. */
    static final int LANES = 16;

    private static final int LINE = 4 * LANES;

    static {
        NativeMemory.prepare();
    }

    static final engine CPU = new engine(engine.kind.cpu, 0);

    /** A primitive and what it is for; immutable, run by many threads with memory of their own. */
    record Primitive(int rows, matmul code, memory.desc source, memory.desc result, memory.desc scratchpad) {}

    final int in;
    final int columns;
    private final boolean bytes;
    private final memory.desc weights;
    private final Primitive full;
    private final AtomicReferenceArray<@Nullable Primitive> byRows = new AtomicReferenceArray<>(ROWS + 1);
    private int @Nullable [] lines;

    NativeShape(int in, int columns, boolean bytes) {
        this.in = in;
        this.columns = columns;
        this.bytes = bytes;
        memory.desc any = new memory.desc(new long[] {in, columns}, type(), memory.format_tag.any);
        matmul.primitive_desc best = describe(rowsOfSource(ROWS), any);
        this.weights = best.weights_desc();
        this.full = primitive(ROWS, best);
    }

    /** Bytes of weights in the layout, without what it has behind them. */
    int valueBytes() {
        LongPointer padded = weights.get_padded_dims();
        return Math.toIntExact(padded.get(0) * padded.get(1));
    }

    /** Bytes of weights in the layout, with what it has behind them. */
    int bytes() {
        return Math.toIntExact(weights.get_size());
    }

    /** Brings bytes {@code [columns, in]} into the layout. */
    void reorder(ByteBuffer plain, memory into) {
        try (BytePointer pointer = new BytePointer(plain)) {
            NativeMatmul.reorder(
                    new memory(new memory.desc(new long[] {in, columns}, type(), new long[] {1, in}), CPU, pointer),
                    into);
        }
    }

    /**
     * Where the layout has its lines of 64 bytes: that of the inputs {@code 4 i .. 4 i + 3} of the outputs {@code 16 b .. 16 b + 15} is
     * number {@code [b, i]}. The library is asked to bring numbers into it.
     *
     * @throws UnsupportedOperationException for a layout that has no such lines
     */
    synchronized int[] lines() {
        if (lines == null) {
            lines = findLines();
        }
        return lines;
    }

    private int[] findLines() {
        ByteBuffer plain = NativeMatmul.direct(in * columns);
        byte[] places = inLayout(plain, (n, k) -> 1 + n % LANES * 4 + k % 4);
        byte[] lows = inLayout(plain, this::line);
        byte[] highs = inLayout(plain, (n, k) -> line(n, k) >> 8);
        int[] found = new int[(columns + LANES - 1) / LANES * (in / 4)];
        Arrays.fill(found, -1);
        for (int at = 0; at < valueBytes(); at++) {
            if (places[at] != 0) {
                int line = lows[at] & 255 | (highs[at] & 255) << 8;
                if (places[at] != 1 + at % LINE || found[line] != -1 && found[line] != at / LINE) {
                    throw new UnsupportedOperationException(
                            "oneDNN's layout of bytes [%d, %d] has no lines of %d outputs by 4 inputs"
                                    .formatted(in, columns, LANES));
                }
                found[line] = at / LINE;
            }
        }
        return found;
    }

    private int line(int n, int k) {
        return n / LANES * (in / 4) + k / 4;
    }

    /** A value for each output and input, as the layout has them. */
    private byte[] inLayout(ByteBuffer plain, IntBinaryOperator value) {
        for (int n = 0; n < columns; n++) {
            for (int k = 0; k < in; k++) {
                plain.put(n * in + k, (byte) value.applyAsInt(n, k));
            }
        }
        ByteBuffer into = NativeMatmul.direct(bytes());
        try (BytePointer pointer = new BytePointer(into)) {
            reorder(plain, new memory(weights, CPU, pointer));
        }
        byte[] found = new byte[valueBytes()];
        into.get(0, found);
        return found;
    }

    private memory.data_type type() {
        return bytes ? memory.data_type.s8 : memory.data_type.bf16;
    }

    /** An activation is two bytes in either form: a bfloat16, or the high and the low part of an integer, a row each. */
    private int rowsOfSource(int rows) {
        return bytes ? 2 * rows : rows;
    }

    /** The layout of the weights. */
    memory.desc weights() {
        return weights;
    }

    private matmul.primitive_desc describe(int rows, memory.desc w) {
        primitive_attr attributes = new primitive_attr();
        attributes.set_scratchpad_mode(scratchpad_mode.user);
        memory.data_type sums = bytes ? memory.data_type.s32 : memory.data_type.f32;
        return new matmul.primitive_desc(
                CPU,
                new memory.desc(new long[] {rows, in}, type(), memory.format_tag.ab),
                w,
                new memory.desc(new long[] {rows, columns}, sums, memory.format_tag.ab),
                attributes,
                false);
    }

    private static Primitive primitive(int rows, matmul.primitive_desc d) {
        return new Primitive(rows, new matmul(d), d.src_desc(), d.dst_desc(), d.scratchpad_desc());
    }

    /** The primitive for so many rows, or for a few more. */
    Primitive of(int rows) {
        Primitive found = byRows.get(rows);
        return found != null ? found : prepare(rows);
    }

    /** At least so many rows: numbers for which there are primitives. Rows that are padded cost as much as others. */
    private static int rounded(int rows) {
        return rows <= 8 ? rows : rows <= 16 ? (rows + 3) / 4 * 4 : (rows + 15) / 16 * 16;
    }

    private synchronized Primitive prepare(int rows) {
        Primitive found = byRows.get(rows);
        int next = rounded(rows);
        while (found == null) {
            if (next == ROWS) {
                found = full;
            } else if (next != rows && byRows.get(next) != null) {
                found = byRows.get(next);
            } else {
                Primitive tried = primitive(next, describe(rowsOfSource(next), weights));
                found = bytes || addsLikeFull(tried) ? tried : null;
            }
            next = rounded(next + 1);
        }
        byRows.set(rows, found);
        return found;
    }

    private boolean addsLikeFull(Primitive tried) {
        // Freed here, since there are many numbers of rows, and the collector may not come for long.
        try (BytePointer memory = new BytePointer(2L * in * Math.max(ROWS, columns));
                memory w = new memory(weights, CPU)) {
            Random random = new Random(17);
            ByteBuffer values = memory.asByteBuffer();
            for (int i = 0; i < values.capacity() / 2; i++) {
                values.putShort(2 * i, Unpack.toBf16((float) random.nextGaussian()));
            }
            reorder(values, w);
            float[] expected = run(full, memory, w);
            float[] actual = run(tried, memory, w);
            return Arrays.equals(actual, 0, actual.length, expected, 0, actual.length);
        }
    }

    private float[] run(Primitive primitive, BytePointer rows, memory w) {
        float[] result = new float[primitive.rows * columns];
        NativeMatmul.context().run(this, primitive, rows, 0, w.get()).floats().get(0, result);
        return result;
    }
}
