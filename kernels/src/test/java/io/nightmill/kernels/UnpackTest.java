package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Block formats against the walk through a block that ggml-quants.c describes, written here a second time. */
class UnpackTest {
    private final Random random = new Random(3);

    private byte[] block(Format format, int... halves) {
        byte[] bytes = new byte[format.blockBytes()];
        random.nextBytes(bytes);
        for (int at : halves) {
            bytes[at + 1] = 0x2c;
        }
        return bytes;
    }

    private static float[] unpack(Format format, byte[] block) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(block.length).put(0, block);
        float[] out = new float[format.blockValues()];
        Unpack.row(Matrix.of(format, 1, out.length, bytes), 0, out, 0);
        return out;
    }

    private static float half(byte[] b, int at) {
        return Unpack.f16(ByteBuffer.wrap(b).order(ByteOrder.LITTLE_ENDIAN).getShort(at));
    }

    @Test
    void halfPrecision() {
        assertThat(Unpack.f16((short) 0x3c00)).isEqualTo(1f);
        assertThat(Unpack.f16((short) 0xc000)).isEqualTo(-2f);
        assertThat(Unpack.f16((short) 0x0001)).isEqualTo(0x1p-24f);
        assertThat(Unpack.f16((short) 0x7bff)).isEqualTo(65504f);
        assertThat(Unpack.f16((short) 0x7c00)).isEqualTo(Float.POSITIVE_INFINITY);
        assertThat(Unpack.f16((short) 0x7e00)).isNaN();
        assertThat(Unpack.f16((short) 0x8000)).isEqualTo(-0f);
    }

    @Test
    void fp8() {
        byte[] codes = {0x38, 0x7e, (byte) 0xb8, 0x01, 0x08, 0x40};
        float[] out = new float[6];
        Unpack.row(Matrix.of(Format.F8_E4M3, 1, 6, ByteBuffer.allocateDirect(6).put(0, codes)), 0, out, 0);
        assertThat(out).containsExactly(1, 448, -1, 0x1p-9f, 0x1p-6f, 2);
    }

    @Test
    void q2k() {
        byte[] b = block(Format.Q2_K, 80, 82);
        float[] expected = new float[256];
        int y = 0;
        int is = 0;
        int q = 16;
        for (int n = 0; n < 256; n += 128) {
            for (int shift = 0; shift < 8; shift += 2) {
                for (int part = 0; part < 32; part += 16) {
                    int sc = b[is++] & 255;
                    for (int l = 0; l < 16; l++) {
                        int v = (b[q + part + l] & 255) >> shift & 3;
                        expected[y++] = half(b, 80) * (sc & 15) * v - half(b, 82) * (sc >> 4);
                    }
                }
            }
            q += 32;
        }
        assertThat(unpack(Format.Q2_K, b)).containsExactly(expected);
    }

    @Test
    void q3k() {
        byte[] b = block(Format.Q3_K, 108);
        ByteBuffer buffer = ByteBuffer.wrap(b).order(ByteOrder.LITTLE_ENDIAN);
        int a0 = buffer.getInt(96);
        int a1 = buffer.getInt(100);
        int tmp = buffer.getInt(104);
        int[] aux = {
            a0 & 0x0f0f0f0f | (tmp & 0x03030303) << 4,
            a1 & 0x0f0f0f0f | (tmp >>> 2 & 0x03030303) << 4,
            a0 >>> 4 & 0x0f0f0f0f | (tmp >>> 4 & 0x03030303) << 4,
            a1 >>> 4 & 0x0f0f0f0f | (tmp >>> 6 & 0x03030303) << 4
        };
        float[] expected = new float[256];
        int y = 0;
        int is = 0;
        int q = 32;
        int m = 1;
        for (int n = 0; n < 256; n += 128) {
            for (int shift = 0; shift < 8; shift += 2) {
                for (int part = 0; part < 32; part += 16) {
                    int scale = (aux[is / 4] >>> 8 * (is % 4) & 255) - 32;
                    is++;
                    for (int l = 0; l < 16; l++) {
                        int v = ((b[q + part + l] & 255) >> shift & 3) - ((b[part + l] & m) != 0 ? 0 : 4);
                        expected[y++] = half(b, 108) * scale * v;
                    }
                }
                m <<= 1;
            }
            q += 32;
        }
        assertThat(unpack(Format.Q3_K, b)).containsExactly(expected);
    }

    private static int[] scaleMin(byte[] b, int at, int j) {
        int[] q = new int[12];
        for (int i = 0; i < 12; i++) {
            q[i] = b[at + i] & 255;
        }
        return j < 4
                ? new int[] {q[j] & 63, q[j + 4] & 63}
                : new int[] {q[j + 4] & 15 | q[j - 4] >> 6 << 4, q[j + 4] >> 4 | q[j] >> 6 << 4};
    }

    @Test
    void q4kAndQ5k() {
        for (Format format : new Format[] {Format.Q4_K, Format.Q5_K}) {
            byte[] b = block(format, 0, 2);
            boolean five = format == Format.Q5_K;
            int q = five ? 48 : 16;
            float[] expected = new float[256];
            int y = 0;
            int u = 1;
            for (int is = 0; is < 8; is += 2) {
                for (int high = 0; high < 2; high++) {
                    int[] scale = scaleMin(b, 4, is + high);
                    for (int l = 0; l < 32; l++) {
                        int v = high == 0 ? b[q + l] & 15 : (b[q + l] & 255) >> 4;
                        v += five && (b[16 + l] & u) != 0 ? 16 : 0;
                        expected[y++] = half(b, 0) * scale[0] * v - half(b, 2) * scale[1];
                    }
                    u <<= 1;
                }
                q += 32;
            }
            assertThat(unpack(format, b)).containsExactly(expected);
        }
    }

    @Test
    void q6k() {
        byte[] b = block(Format.Q6_K, 208);
        float[] expected = new float[256];
        int ql = 0;
        int qh = 128;
        int sc = 192;
        for (int y = 0; y < 256; y += 128) {
            for (int l = 0; l < 32; l++) {
                int is = l / 16;
                int h = b[qh + l] & 255;
                int[] v = {
                    b[ql + l] & 15 | (h & 3) << 4,
                    b[ql + l + 32] & 15 | (h >> 2 & 3) << 4,
                    (b[ql + l] & 255) >> 4 | (h >> 4 & 3) << 4,
                    (b[ql + l + 32] & 255) >> 4 | (h >> 6 & 3) << 4
                };
                for (int k = 0; k < 4; k++) {
                    expected[y + l + 32 * k] = half(b, 208) * b[sc + is + 2 * k] * (v[k] - 32);
                }
            }
            ql += 64;
            qh += 32;
            sc += 8;
        }
        assertThat(unpack(Format.Q6_K, b)).containsExactly(expected);
    }

    @Test
    void smallBlocks() {
        byte[] q4 = block(Format.Q4_0, 0);
        byte[] q8 = block(Format.Q8_0, 0);
        byte[] q5 = block(Format.Q5_0, 0);
        byte[] q51 = block(Format.Q5_1, 0, 2);
        int high = ByteBuffer.wrap(q5).order(ByteOrder.LITTLE_ENDIAN).getInt(2);
        int high1 = ByteBuffer.wrap(q51).order(ByteOrder.LITTLE_ENDIAN).getInt(4);
        for (int j = 0; j < 16; j++) {
            assertThat(unpack(Format.Q8_0, q8)[j]).isEqualTo(half(q8, 0) * q8[2 + j]);
            assertThat(unpack(Format.Q4_0, q4)[j]).isEqualTo(half(q4, 0) * ((q4[2 + j] & 15) - 8));
            assertThat(unpack(Format.Q4_0, q4)[j + 16]).isEqualTo(half(q4, 0) * (((q4[2 + j] & 255) >> 4) - 8));
            int low5 = q5[6 + j] & 15 | (high >>> j << 4 & 16);
            int up5 = (q5[6 + j] & 255) >> 4 | (high >>> j + 12 & 16);
            assertThat(unpack(Format.Q5_0, q5)[j]).isEqualTo(half(q5, 0) * (low5 - 16));
            assertThat(unpack(Format.Q5_0, q5)[j + 16]).isEqualTo(half(q5, 0) * (up5 - 16));
            int low51 = q51[8 + j] & 15 | (high1 >>> j << 4 & 16);
            assertThat(unpack(Format.Q5_1, q51)[j]).isEqualTo(half(q51, 0) * low51 + half(q51, 2));
        }
    }

    @Test
    void mxfp4() {
        byte[] b = new byte[17];
        b[0] = (byte) 128;
        b[1] = (byte) 0xf7;
        float[] out = unpack(Format.MXFP4, b);
        assertThat(out[0]).isEqualTo(12f);
        assertThat(out[16]).isEqualTo(-12f);
    }
}
