package io.nightmill.kernels;

import io.nightmill.kernels.NativeMatmul.Context;
import java.nio.ByteBuffer;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.bytedeco.dnnl.global.dnnl.scratchpad_mode;
import org.bytedeco.dnnl.matmul;
import org.bytedeco.dnnl.memory;
import org.bytedeco.dnnl.primitive_attr;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;

/**
 * oneDNN's products of up to {@value #ROWS} rows with weights {@code [in, columns]}, which all numbers of rows find in the same
 * layout. The library may add in another order for another number of rows (it does for a single one); a number whose results
 * on random rows are not, bit for bit, those of {@value #ROWS} rows is not used, and its rows are padded to one that is.
 */
final class NativeShape {
    static final int ROWS = 64;

    /** A primitive and what it is for; immutable, run by many threads with memory of their own. */
    record Primitive(int rows, matmul code, memory.desc source, memory.desc result, memory.desc scratchpad) {}

    final int in;
    final int columns;
    private final boolean bytes;
    private final memory.desc weights;
    private final Primitive full;
    private final AtomicReferenceArray<@Nullable Primitive> byRows = new AtomicReferenceArray<>(ROWS + 1);

    NativeShape(int in, int columns, boolean bytes) {
        this.in = in;
        this.columns = columns;
        this.bytes = bytes;
        memory.desc any = new memory.desc(new long[] {in, columns}, type(), memory.format_tag.any);
        matmul.primitive_desc best = describe(rowsOfSource(ROWS), any);
        this.weights = best.weights_desc();
        this.full = primitive(ROWS, best);
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
                NativeMatmul.CPU,
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

    private synchronized Primitive prepare(int rows) {
        Primitive found = byRows.get(rows);
        int next = rows <= 4 ? rows : rows <= 16 ? (rows + 3) / 4 * 4 : (rows + 15) / 16 * 16;
        while (found == null) {
            if (next == ROWS) {
                found = full;
            } else if (next != rows && byRows.get(next) != null) {
                found = byRows.get(next);
            } else {
                Primitive tried = primitive(next, describe(rowsOfSource(next), weights));
                found = bytes || addsLikeFull(tried) ? tried : null;
            }
            next = next < 4 ? next + 1 : next < 16 ? next + 4 : next + 16;
        }
        byRows.set(rows, found);
        return found;
    }

    private boolean addsLikeFull(Primitive tried) {
        Random random = new Random(17);
        ByteBuffer values = NativeMatmul.direct(2 * in * Math.max(ROWS, columns));
        for (int i = 0; i < values.capacity() / 2; i++) {
            values.putShort(2 * i, Unpack.toBf16((float) random.nextGaussian()));
        }
        memory w = new memory(weights, NativeMatmul.CPU);
        try (BytePointer pointer = new BytePointer(values)) {
            memory plain = new memory(
                    new memory.desc(new long[] {in, columns}, type(), new long[] {1, in}), NativeMatmul.CPU, pointer);
            NativeMatmul.reorder(plain, w);
            Context context = new Context();
            float[] expected = new float[ROWS * columns];
            context.run(this, full, pointer, 0, w.get()).asFloatBuffer().get(expected);
            float[] actual = new float[tried.rows * columns];
            context.run(this, tried, pointer, 0, w.get()).asFloatBuffer().get(actual);
            for (int i = 0; i < actual.length; i++) {
                if (actual[i] != expected[i]) {
                    return false;
                }
            }
            return true;
        }
    }
}
