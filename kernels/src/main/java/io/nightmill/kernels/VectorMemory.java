package io.nightmill.kernels;

import static java.lang.invoke.MethodType.methodType;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/**
 * Vectors from and to memory outside the heap, little endian. The Vector API reads byte buffers up to Java 18 and memory segments
 * from 19 on, which Java 17 does not compile against, so their methods are called by handles. Those are constants, and so is which of the
 * two it is: C2 leaves nothing of the choice.
 */
final class VectorMemory {
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final VectorSpecies<Float> F = Species.FLOATS;
    private static final VectorSpecies<Integer> I = Species.INTS;
    /** Vectors of 256 bits at most. */
    static final VectorSpecies<Integer> INTS_256 = I.length() < 8 ? I : IntVector.SPECIES_256;

    private static final MethodHandles.Lookup LOOKUP = MethodHandles.publicLookup();

    /** Whether memory segments are what vectors are read from. */
    static final boolean SEGMENTS = Arrays.stream(FloatVector.class.getMethods())
            .noneMatch(method -> method.getName().equals("fromByteBuffer"));

    private static final @Nullable MethodHandle OF_BUFFER = SEGMENTS ? ofBuffer() : null;
    private static final @Nullable MethodHandle FLOATS = SEGMENTS ? load(FloatVector.class, F) : null;
    private static final @Nullable MethodHandle INTS = SEGMENTS ? load(IntVector.class, I) : null;
    private static final @Nullable MethodHandle INTS256 = SEGMENTS ? load(IntVector.class, INTS_256) : null;
    /** {@code (vector, segment, at)}. */
    static final @Nullable MethodHandle PUT_INTS = SEGMENTS ? store(IntVector.class) : null;

    private static final @Nullable MethodHandle PUT_SHORTS = SEGMENTS ? store(ShortVector.class) : null;
    private static final @Nullable MethodHandle PUT_BYTES = SEGMENTS ? store(ByteVector.class) : null;

    private VectorMemory() {}

    private static Class<?> segment() throws ClassNotFoundException {
        return Class.forName("java.lang.foreign.MemorySegment");
    }

    private static MethodHandle ofBuffer() {
        try {
            return LOOKUP.findStatic(segment(), "ofBuffer", methodType(segment(), Buffer.class))
                    .asType(methodType(Object.class, ByteBuffer.class));
        } catch (ReflectiveOperationException e) {
            throw new LinkageError(e.getMessage(), e);
        }
    }

    private static MethodHandle load(Class<?> vector, VectorSpecies<?> species) {
        try {
            MethodType type = methodType(vector, VectorSpecies.class, segment(), long.class, ByteOrder.class);
            MethodHandle found = LOOKUP.findStatic(vector, "fromMemorySegment", type);
            MethodHandle bound = MethodHandles.insertArguments(MethodHandles.insertArguments(found, 3, LE), 0, species);
            // A segment is an interface's, so passing it as one costs no check.
            return MethodHandles.explicitCastArguments(bound, methodType(vector, Object.class, int.class));
        } catch (ReflectiveOperationException e) {
            throw new LinkageError(e.getMessage(), e);
        }
    }

    private static MethodHandle store(Class<?> vector) {
        try {
            MethodType type = methodType(void.class, segment(), long.class, ByteOrder.class);
            MethodHandle found = LOOKUP.findVirtual(vector, "intoMemorySegment", type);
            return MethodHandles.explicitCastArguments(
                    MethodHandles.insertArguments(found, 3, LE),
                    methodType(void.class, vector, Object.class, int.class));
        } catch (ReflectiveOperationException e) {
            throw new LinkageError(e.getMessage(), e);
        }
    }

    /** The segment that the methods below take beside a buffer; null where they read the buffer itself. */
    static @Nullable Object segment(ByteBuffer buffer) {
        if (!SEGMENTS) {
            return null;
        }
        try {
            // A segment begins where the buffer's position is.
            return (Object) OF_BUFFER.invokeExact(buffer.duplicate().clear());
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static FloatVector floats(ByteBuffer buffer, @Nullable Object segment, int at) {
        if (!SEGMENTS) {
            return FloatVector.fromByteBuffer(F, buffer, at, LE);
        }
        try {
            return (FloatVector) FLOATS.invokeExact(segment, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static IntVector ints(ByteBuffer buffer, @Nullable Object segment, int at) {
        if (!SEGMENTS) {
            return IntVector.fromByteBuffer(I, buffer, at, LE);
        }
        try {
            return (IntVector) INTS.invokeExact(segment, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static IntVector ints256(ByteBuffer buffer, @Nullable Object segment, int at) {
        if (!SEGMENTS) {
            return IntVector.fromByteBuffer(INTS_256, buffer, at, LE);
        }
        try {
            return (IntVector) INTS256.invokeExact(segment, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static void put(IntVector vector, ByteBuffer buffer, @Nullable Object segment, int at) {
        if (!SEGMENTS) {
            vector.intoByteBuffer(buffer, at, LE);
            return;
        }
        try {
            PUT_INTS.invokeExact(vector, segment, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static void put(ShortVector vector, ByteBuffer buffer, @Nullable Object segment, int at) {
        if (!SEGMENTS) {
            vector.intoByteBuffer(buffer, at, LE);
            return;
        }
        try {
            PUT_SHORTS.invokeExact(vector, segment, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static void put(ByteVector vector, ByteBuffer buffer, @Nullable Object segment, int at) {
        if (!SEGMENTS) {
            vector.intoByteBuffer(buffer, at, LE);
            return;
        }
        try {
            PUT_BYTES.invokeExact(vector, segment, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    /** What a handle threw: the methods that it calls declare nothing. */
    static RuntimeException failure(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        throw (RuntimeException) e;
    }
}
