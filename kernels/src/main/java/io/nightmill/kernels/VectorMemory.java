package io.nightmill.kernels;

import static java.lang.invoke.MethodType.methodType;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Optional;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Vectors from and to memory outside the heap, little endian. The Vector API reads byte buffers up to Java 18 and memory segments
 * from 19 on, which Java 17 does not compile against, so the method that is there is looked up once. Handles in static final
 * fields are inlined like calls.
 */
final class VectorMemory {
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.publicLookup();
    /** Memory segments, where they are what vectors are read from. */
    private static final Optional<Class<?>> SEGMENTS = segments();

    private static final Optional<MethodHandle> TO_SEGMENT = SEGMENTS.map(VectorMemory::toSegment);
    private static final MethodHandle FLOATS = load(FloatVector.class, FloatVector.SPECIES_PREFERRED);
    private static final MethodHandle INTS = load(IntVector.class, IntVector.SPECIES_PREFERRED);
    private static final MethodHandle PUT_INTS = store(IntVector.class);
    private static final MethodHandle PUT_SHORTS = store(ShortVector.class);
    private static final MethodHandle PUT_BYTES = store(ByteVector.class);

    private VectorMemory() {}

    private static Optional<Class<?>> segments() {
        boolean buffers = Arrays.stream(FloatVector.class.getMethods())
                .anyMatch(method -> method.getName().equals("fromByteBuffer"));
        try {
            return buffers ? Optional.empty() : Optional.of(Class.forName("java.lang.foreign.MemorySegment"));
        } catch (ClassNotFoundException e) {
            throw new LinkageError("The Vector API of this JVM reads neither byte buffers nor memory segments", e);
        }
    }

    private static MethodHandle toSegment(Class<?> segment) {
        try {
            return LOOKUP.findStatic(segment, "ofBuffer", methodType(segment, Buffer.class))
                    .asType(methodType(Object.class, ByteBuffer.class));
        } catch (ReflectiveOperationException e) {
            throw new LinkageError(e.getMessage(), e);
        }
    }

    private static MethodHandle load(Class<?> vector, VectorSpecies<?> species) {
        MethodType type =
                methodType(vector, VectorSpecies.class, SEGMENTS.orElse(ByteBuffer.class), place(), ByteOrder.class);
        String name = SEGMENTS.isPresent() ? "fromMemorySegment" : "fromByteBuffer";
        try {
            MethodHandle found = LOOKUP.findStatic(vector, name, type);
            return MethodHandles.insertArguments(
                            MethodHandles.insertArguments(found, 3, ByteOrder.LITTLE_ENDIAN), 0, species)
                    .asType(methodType(vector, Object.class, int.class));
        } catch (ReflectiveOperationException e) {
            throw new LinkageError(e.getMessage(), e);
        }
    }

    private static MethodHandle store(Class<?> vector) {
        MethodType type = methodType(void.class, SEGMENTS.orElse(ByteBuffer.class), place(), ByteOrder.class);
        String name = SEGMENTS.isPresent() ? "intoMemorySegment" : "intoByteBuffer";
        try {
            return MethodHandles.insertArguments(LOOKUP.findVirtual(vector, name, type), 3, ByteOrder.LITTLE_ENDIAN)
                    .asType(methodType(void.class, vector, Object.class, int.class));
        } catch (ReflectiveOperationException e) {
            throw new LinkageError(e.getMessage(), e);
        }
    }

    private static Class<?> place() {
        return SEGMENTS.isPresent() ? long.class : int.class;
    }

    /** What the methods below take for a buffer. */
    static Object of(ByteBuffer buffer) {
        if (TO_SEGMENT.isEmpty()) {
            return buffer;
        }
        try {
            // A segment begins where the buffer's position is.
            return (Object) TO_SEGMENT.get().invokeExact(buffer.duplicate().clear());
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static FloatVector floats(Object memory, int at) {
        try {
            return (FloatVector) FLOATS.invokeExact(memory, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static IntVector ints(Object memory, int at) {
        try {
            return (IntVector) INTS.invokeExact(memory, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static void put(IntVector vector, Object memory, int at) {
        try {
            PUT_INTS.invokeExact(vector, memory, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static void put(ShortVector vector, Object memory, int at) {
        try {
            PUT_SHORTS.invokeExact(vector, memory, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    static void put(ByteVector vector, Object memory, int at) {
        try {
            PUT_BYTES.invokeExact(vector, memory, at);
        } catch (Throwable e) {
            throw failure(e);
        }
    }

    /** The methods declare nothing. */
    private static RuntimeException failure(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        throw (RuntimeException) e;
    }
}
