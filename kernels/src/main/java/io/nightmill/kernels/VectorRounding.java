package io.nightmill.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/** {@link VectorLanes}' loops between float32 and what oneDNN multiplies, which lies in {@link VectorMemory}; of whole vectors. */
final class VectorRounding {
    private static final VectorSpecies<Float> F = Species.FLOATS;
    private static final int L = F.length();
    /** As many bytes and shorts as there are float lanes; unused where a vector has four. */
    private static final VectorSpecies<Byte> QUARTER_BYTES = L == 16 ? ByteVector.SPECIES_128 : ByteVector.SPECIES_64;

    private static final VectorSpecies<Short> HALF_SHORTS = L == 16 ? ShortVector.SPECIES_256 : ShortVector.SPECIES_128;

    private VectorRounding() {}

    static void toBf16(float[] x, int xo, int n, ByteBuffer out, @Nullable Object segment, int at) {
        for (int i = 0; i < n; i += L) {
            IntVector bits = FloatVector.fromArray(F, x, xo + i).reinterpretAsInts();
            IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
            IntVector rounded = bits.add(0x7fff).add(odd).lanewise(VectorOperators.LSHR, 16);
            VectorMemory.put((ShortVector) rounded.castShape(HALF_SHORTS, 0), out, segment, at + 2 * i);
        }
    }

    static float toIntegers(float[] x, int xo, int n, ByteBuffer out, @Nullable Object segment, int at) {
        FloatVector largest = FloatVector.zero(F);
        for (int i = 0; i < n; i += L) {
            largest = largest.max(FloatVector.fromArray(F, x, xo + i).abs());
        }
        float top = largest.reduceLanes(VectorOperators.MAX);
        float inverse = top == 0 ? 0 : Lanes.LARGEST / top;
        FloatVector magic = FloatVector.broadcast(F, 12582912f);
        for (int i = 0; i < n; i += L) {
            // Beside so large a number, a float's last bit is 1: adding rounds.
            FloatVector near = FloatVector.fromArray(F, x, xo + i).mul(inverse).add(magic);
            IntVector value = near.reinterpretAsInts().sub(0x4b400000);
            IntVector high = value.add(64).lanewise(VectorOperators.ASHR, 7);
            IntVector low = value.sub(high.lanewise(VectorOperators.LSHL, 7));
            VectorMemory.put((ByteVector) high.castShape(QUARTER_BYTES, 0), out, segment, at + i);
            VectorMemory.put((ByteVector) low.castShape(QUARTER_BYTES, 0), out, segment, at + n + i);
        }
        return inverse == 0 ? 0 : 1 / inverse;
    }

    /**
     * With sixteen lanes. C2 would not inline {@link VectorMemory}'s method for the later ones of so many stores, so they are written out.
     *
     * @param codes the segment of {@code packed}, {@code bytes} that of {@code out}
     */
    static void widenCodes(
            ByteBuffer packed,
            @Nullable Object codes,
            int at,
            int groups,
            ByteBuffer out,
            @Nullable Object bytes,
            int[] lines,
            int first)
            throws Throwable {
        for (int g = 0; g < groups; g++) {
            IntVector scales = VectorMemory.ints(packed, codes, at + NativeCodes.scales(g))
                    .lanewise(VectorOperators.LSHR, 8 * (g & 3));
            // A word has four inputs' codes in its bytes. With 128 more, what becomes of each is positive and stays in
            // its byte, so words are multiplied and added.
            IntVector factor = scales.and(15);
            IntVector zero = scales.lanewise(VectorOperators.LSHR, 4).and(15);
            IntVector more = zero.mul(factor).neg().add(128).mul(0x1010101);
            int from = at + NativeCodes.group(g);
            int to = first + 8 * g;
            IntVector a = VectorMemory.ints(packed, codes, from);
            IntVector b = VectorMemory.ints(packed, codes, from + 64);
            IntVector c = VectorMemory.ints(packed, codes, from + 128);
            IntVector d = VectorMemory.ints(packed, codes, from + 192);
            IntVector r0 = a.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r0, bytes, 64 * lines[to]);
            } else {
                r0.intoByteBuffer(out, 64 * lines[to], ByteOrder.LITTLE_ENDIAN);
            }
            a = a.lanewise(VectorOperators.LSHR, 4);
            IntVector r1 = a.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r1, bytes, 64 * lines[to + 1]);
            } else {
                r1.intoByteBuffer(out, 64 * lines[to + 1], ByteOrder.LITTLE_ENDIAN);
            }
            IntVector r2 = b.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r2, bytes, 64 * lines[to + 2]);
            } else {
                r2.intoByteBuffer(out, 64 * lines[to + 2], ByteOrder.LITTLE_ENDIAN);
            }
            b = b.lanewise(VectorOperators.LSHR, 4);
            IntVector r3 = b.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r3, bytes, 64 * lines[to + 3]);
            } else {
                r3.intoByteBuffer(out, 64 * lines[to + 3], ByteOrder.LITTLE_ENDIAN);
            }
            IntVector r4 = c.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r4, bytes, 64 * lines[to + 4]);
            } else {
                r4.intoByteBuffer(out, 64 * lines[to + 4], ByteOrder.LITTLE_ENDIAN);
            }
            c = c.lanewise(VectorOperators.LSHR, 4);
            IntVector r5 = c.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r5, bytes, 64 * lines[to + 5]);
            } else {
                r5.intoByteBuffer(out, 64 * lines[to + 5], ByteOrder.LITTLE_ENDIAN);
            }
            IntVector r6 = d.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r6, bytes, 64 * lines[to + 6]);
            } else {
                r6.intoByteBuffer(out, 64 * lines[to + 6], ByteOrder.LITTLE_ENDIAN);
            }
            d = d.lanewise(VectorOperators.LSHR, 4);
            IntVector r7 = d.and(0xf0f0f0f).mul(factor).add(more).lanewise(VectorOperators.XOR, 0x80808080);
            if (VectorMemory.SEGMENTS) {
                VectorMemory.PUT_INTS.invokeExact(r7, bytes, 64 * lines[to + 7]);
            } else {
                r7.intoByteBuffer(out, 64 * lines[to + 7], ByteOrder.LITTLE_ENDIAN);
            }
        }
    }

    /** {@link Lanes#fromIntegers}. */
    static void fromIntegers(
            ByteBuffer sums,
            @Nullable Object segment,
            int high,
            int low,
            float factor,
            float[] factors,
            int fo,
            int n,
            float[] out,
            int oo) {
        for (int i = 0; i < n; i += L) {
            FloatVector h =
                    (FloatVector) VectorMemory.ints(sums, segment, high + 4 * i).castShape(F, 0);
            FloatVector l =
                    (FloatVector) VectorMemory.ints(sums, segment, low + 4 * i).castShape(F, 0);
            FloatVector sum = h.mul(128f).add(l);
            sum.mul(FloatVector.fromArray(F, factors, fo + i).mul(factor)).intoArray(out, oo + i);
        }
    }
}
