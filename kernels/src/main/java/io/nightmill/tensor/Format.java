package io.nightmill.tensor;

/**
 * How a weight is stored: blocks of {@code blockValues} values in {@code blockBytes} bytes, little endian. The block
 * formats are those of GGUF (ggml-quants.h of llama.cpp); {@link #F8_E4M3} is the OCP 8-bit float of safetensors.
 */
public enum Format {
    F32(1, 4),
    F16(1, 2),
    BF16(1, 2),
    F8_E4M3(1, 1),
    Q8_0(32, 34),
    Q4_0(32, 18),
    Q4_1(32, 20),
    Q5_0(32, 22),
    Q5_1(32, 24),
    Q2_K(256, 84),
    Q3_K(256, 110),
    Q4_K(256, 144),
    Q5_K(256, 176),
    Q6_K(256, 210),
    IQ4_NL(32, 18),
    IQ4_XS(256, 136),
    MXFP4(32, 17);

    private final int blockValues;
    private final int blockBytes;

    Format(int blockValues, int blockBytes) {
        this.blockValues = blockValues;
        this.blockBytes = blockBytes;
    }

    public int blockValues() {
        return blockValues;
    }

    public int blockBytes() {
        return blockBytes;
    }

    /** Bytes of one row of {@code values} values; the row must be whole blocks. */
    public long rowBytes(long values) {
        if (values % blockValues != 0) {
            throw new IllegalArgumentException(
                    "Cannot store rows of %d values as %s: it has blocks of %d".formatted(values, this, blockValues));
        }
        return Math.multiplyExact(values / blockValues, (long) blockBytes);
    }
}
