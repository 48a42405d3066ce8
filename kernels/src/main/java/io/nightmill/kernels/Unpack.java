package io.nightmill.kernels;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Rows of stored weights as float32, exactly. Block layouts: ggml-quants.c of llama.cpp; MXFP4 and E4M3: the OCP
 * microscaling and 8-bit float specifications.
 */
public final class Unpack {
    private static final byte[] IQ4 = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    /** Twice the values. */
    private static final byte[] FP4 = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

    private static final float[] E4M3 = new float[256];

    static {
        for (int i = 0; i < 256; i++) {
            int exponent = i >> 3 & 15;
            int mantissa = i & 7;
            double value = exponent == 0 ? mantissa * 0x1p-9 : (8 + mantissa) * Math.scalb(1.0, exponent - 10);
            E4M3[i] = (i & 127) == 127 ? Float.NaN : (float) (i < 128 ? value : -value);
        }
    }

    private Unpack() {}

    /** Rounded to nearest, ties to even. */
    public static short toBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }

    /** What one step of the bytes of {@code x[from] .. x[to - 1]} stands for: the largest of them is 127 steps. */
    static float byteFactor(float[] x, int from, int to) {
        float largest = 0;
        for (int i = from; i < to; i++) {
            largest = Math.max(largest, Math.abs(x[i]));
        }
        return largest / 127;
    }

    static byte toByte(float value, float factor) {
        return factor == 0 ? 0 : (byte) Math.rint(value / factor);
    }

    public static float bf16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    public static float f16(short bits) {
        int exponent = bits >> 10 & 31;
        int mantissa = bits & 1023;
        int sign = (bits & 0x8000) << 16;
        if (exponent == 0) {
            float tiny = mantissa * 0x1p-24f;
            return sign == 0 ? tiny : -tiny;
        }
        int wide = exponent == 31 ? 255 : exponent + 112;
        return Float.intBitsToFloat(sign | wide << 23 | mantissa << 13);
    }

    /** Rounded to nearest, ties to even; infinite beyond 65,504. */
    static short toF16(float value) {
        int bits = Float.floatToIntBits(value);
        int sign = bits >>> 16 & 0x8000;
        float amount = Math.abs(value);
        if (Float.isNaN(value)) {
            return 0x7e00;
        }
        if (amount < 0x1p-14f) {
            return (short) (sign | (int) Math.rint(amount * 0x1p24f));
        }
        int rounded = (bits & 0x7fffffff) + 0xfff + (bits >>> 13 & 1) - (112 << 23) >> 13;
        return (short) (sign | Math.min(0x7c00, rounded));
    }

    static float e4m3(byte bits) {
        return E4M3[bits & 255];
    }

    /** Writes row {@code row} of a matrix to {@code out[oo .. oo + in]}. */
    public static void row(Matrix m, int row, float[] out, int oo) {
        ByteBuffer b = m.panel(row);
        int at = m.rowOffset(row);
        int n = m.in();
        switch (m.format()) {
            case F32 -> b.slice(at, 4 * n)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .asFloatBuffer()
                    .get(out, oo, n);
            case F16 -> {
                for (int i = 0; i < n; i++) {
                    out[oo + i] = f16(b.getShort(at + 2 * i));
                }
            }
            case BF16 -> {
                for (int i = 0; i < n; i++) {
                    out[oo + i] = bf16(b.getShort(at + 2 * i));
                }
            }
            case F8_E4M3 -> {
                for (int i = 0; i < n; i++) {
                    out[oo + i] = e4m3(b.get(at + i));
                }
            }
            default -> {
                Codes codes = new Codes(n, group(m.format()));
                codes(m, row, codes);
                codes.values(out, oo);
            }
        }
        Matrix.Scales scales = m.scales();
        if (scales != null) {
            for (int i = 0; i < n; i++) {
                out[oo + i] *= scales.of(row, i, n);
            }
        }
    }

    /**
     * A row of a block format: value {@code i} is {@code codes[i] * factors[i / group] + offsets[i / group]}, rounded once.
     */
    record Codes(int group, byte[] codes, float[] factors, float[] offsets) {
        Codes(int values, int group) {
            this(group, new byte[values], new float[values / group], new float[values / group]);
        }

        void values(float[] out, int oo) {
            for (int i = 0; i < codes.length; i++) {
                float value = codes[i] * factors[i / group];
                out[oo + i] = offsets[i / group] == 0 ? value : value + offsets[i / group];
            }
        }

        private void group(int at, float factor, float offset) {
            factors[at / group] = factor;
            offsets[at / group] = offset;
        }
    }

    /** Neighbouring values with a factor in common; 0 where a format has no blocks. */
    static int group(Format format) {
        return switch (format) {
            case F32, F16, BF16, F8_E4M3 -> 0;
            case Q2_K, Q3_K, Q6_K -> 16;
            default -> 32;
        };
    }

    /** Reads a row of a block format. */
    static void codes(Matrix m, int row, Codes out) {
        ByteBuffer b = m.panel(row);
        int size = m.format().blockValues();
        for (int i = 0; i < m.in(); i += size) {
            block(m.format(), b, m.rowOffset(row) + i / size * m.format().blockBytes(), out, i);
        }
    }

    private static void block(Format format, ByteBuffer b, int at, Codes out, int oo) {
        float d = format == Format.MXFP4 ? 0 : f16(b.getShort(at));
        switch (format) {
            case Q8_0 -> {
                out.group(oo, d, 0);
                b.get(at + 2, out.codes, oo, 32);
            }
            case Q4_0 -> nibbles(b, at + 2, d, -8 * d, out, oo);
            case Q4_1 -> nibbles(b, at + 4, d, f16(b.getShort(at + 2)), out, oo);
            case Q5_0 -> fives(b, at + 2, d, 0, 16, out, oo);
            case Q5_1 -> fives(b, at + 4, d, f16(b.getShort(at + 2)), 0, out, oo);
            case IQ4_NL -> table(b, at + 2, IQ4, d, out, oo);
            case IQ4_XS -> {
                int high = b.getShort(at + 2) & 0xffff;
                for (int i = 0; i < 8; i++) {
                    int low = b.get(at + 4 + i / 2) >> 4 * (i % 2) & 15;
                    table(b, at + 8 + 16 * i, IQ4, d * ((low | (high >> 2 * i & 3) << 4) - 32), out, oo + 32 * i);
                }
            }
            case MXFP4 -> table(b, at + 1, FP4, Math.scalb(1f, (b.get(at) & 255) - 127) / 2, out, oo);
            case Q2_K -> q2k(b, at, out, oo);
            case Q3_K -> q3k(b, at, out, oo);
            case Q4_K -> q45k(b, at, at + 16, -1, out, oo);
            case Q5_K -> q45k(b, at, at + 48, at + 16, out, oo);
            case Q6_K -> q6k(b, at, out, oo);
            case F32, F16, BF16, F8_E4M3 -> throw new IllegalStateException(format + " has no blocks");
        }
    }

    private static void nibbles(ByteBuffer b, int at, float d, float min, Codes out, int oo) {
        out.group(oo, d, min);
        for (int i = 0; i < 16; i++) {
            int q = b.get(at + i);
            out.codes[oo + i] = (byte) (q & 15);
            out.codes[oo + 16 + i] = (byte) (q >> 4 & 15);
        }
    }

    private static void fives(ByteBuffer b, int at, float d, float min, int zero, Codes out, int oo) {
        out.group(oo, d, min);
        int high = b.getInt(at);
        for (int i = 0; i < 16; i++) {
            int q = b.get(at + 4 + i);
            out.codes[oo + i] = (byte) ((q & 15 | (high >>> i & 1) << 4) - zero);
            out.codes[oo + 16 + i] = (byte) ((q >> 4 & 15 | (high >>> i + 16 & 1) << 4) - zero);
        }
    }

    private static void table(ByteBuffer b, int at, byte[] table, float d, Codes out, int oo) {
        out.group(oo, d, 0);
        for (int i = 0; i < 16; i++) {
            int q = b.get(at + i);
            out.codes[oo + i] = table[q & 15];
            out.codes[oo + 16 + i] = table[q >> 4 & 15];
        }
    }

    private static void q2k(ByteBuffer b, int at, Codes out, int oo) {
        float d = f16(b.getShort(at + 80));
        float min = f16(b.getShort(at + 82));
        for (int i = 0; i < 16; i++) {
            int scale = b.get(at + i);
            int q = at + 16 + i / 8 * 32 + i % 2 * 16;
            out.group(oo + 16 * i, d * (scale & 15), -min * (scale >> 4 & 15));
            for (int l = 0; l < 16; l++) {
                out.codes[oo + 16 * i + l] = (byte) (b.get(q + l) >> i % 8 / 2 * 2 & 3);
            }
        }
    }

    private static void q3k(ByteBuffer b, int at, Codes out, int oo) {
        float d = f16(b.getShort(at + 108));
        for (int i = 0; i < 16; i++) {
            int low = i < 8 ? b.get(at + 96 + i) & 15 : b.get(at + 96 + i - 8) >> 4 & 15;
            int scale = (low | (b.get(at + 104 + i % 4) >> i / 4 * 2 & 3) << 4) - 32;
            int q = at + 32 + i / 8 * 32 + i % 2 * 16;
            out.group(oo + 16 * i, d * scale, 0);
            for (int l = 0; l < 16; l++) {
                int high = b.get(at + i % 2 * 16 + l) >> i / 2 & 1;
                out.codes[oo + 16 * i + l] = (byte) ((b.get(q + l) >> i % 8 / 2 * 2 & 3) - (high == 0 ? 4 : 0));
            }
        }
    }

    /** Q4_K, and Q5_K where {@code high >= 0} is the place of the fifth bits. */
    private static void q45k(ByteBuffer b, int at, int low, int high, Codes out, int oo) {
        float d = f16(b.getShort(at));
        float min = f16(b.getShort(at + 2));
        for (int i = 0; i < 8; i++) {
            int s = at + 4 + i;
            int scale = i < 4 ? b.get(s) & 63 : b.get(s + 4) & 15 | (b.get(s - 4) >> 6 & 3) << 4;
            int offset = i < 4 ? b.get(s + 4) & 63 : b.get(s + 4) >> 4 & 15 | (b.get(s) >> 6 & 3) << 4;
            out.group(oo + 32 * i, d * scale, -min * offset);
            for (int l = 0; l < 32; l++) {
                int q = b.get(low + i / 2 * 32 + l) >> i % 2 * 4 & 15;
                if (high >= 0) {
                    q |= (b.get(high + l) >> i & 1) << 4;
                }
                out.codes[oo + 32 * i + l] = (byte) q;
            }
        }
    }

    private static void q6k(ByteBuffer b, int at, Codes out, int oo) {
        float d = f16(b.getShort(at + 208));
        for (int half = 0; half < 2; half++) {
            for (int part = 0; part < 4; part++) {
                for (int l = 0; l < 32; l++) {
                    int i = oo + 128 * half + 32 * part + l;
                    int low = b.get(at + 64 * half + part % 2 * 32 + l) >> part / 2 * 4 & 15;
                    int high = b.get(at + 128 + 32 * half + l) >> 2 * part & 3;
                    out.codes[i] = (byte) ((low | high << 4) - 32);
                    if (l % 16 == 0) {
                        out.group(i, d * b.get(at + 192 + 8 * half + 2 * part + l / 16), 0);
                    }
                }
            }
        }
    }
}
