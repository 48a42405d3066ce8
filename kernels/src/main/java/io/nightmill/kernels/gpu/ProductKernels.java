package io.nightmill.kernels.gpu;

/**
 * Products with weights in panels of 64 outputs, each block of a row's values in words that stand 64 apart: neighbours in a group
 * read neighbouring words, and nothing is unpacked before it is used.
 *
 * <p>A group is 64 outputs by 4: it takes a tile of up to 8 rows, and cuts the inputs into slices, four at a time. A value is the
 * sum of its slices in order, whatever tile its row is in.
 */
final class ProductKernels extends DeviceKernel {
    static final int SLOTS = 4;
    static final int ROWS = 8;

    float[] out;
    float[] x;
    float[] bias;
    float[] scales;
    int[] w;
    int[] tiles;
    int[] ids;
    int[] words;
    /** Where each weight is in {@code w}, -1 for those that are not there: their rows are left as they are. */
    int[] placeOf;

    int placed;
    int format;
    int blockValues;
    int blockWords;
    int in;
    int outs;
    int rows;
    int size;
    int slice;
    int xWidth;
    int xStep;
    int outWidth;
    int outStep;
    int column;
    int firstOutput;
    int firstWeight;
    int panelsEach;
    int allOuts;
    int grouping;
    int has;
    int scaleRows;
    int scaleColumns;
    int scalesAt;
    float factor;

    @Local
    float[] partial = new float[SLOTS * ROWS * GROUP];

    /** {@code grouping}: 0 is all rows in one group, 1 the tiles of a table, 2 all rows for each weight. */
    public void product() {
        int lane = getLocalId(0);
        int slot = getLocalId(1);
        int tile = getGroupId(1);
        int perWeight = (rows + ROWS - 1) / ROWS;
        int weight = grouping == 2 ? tile / perWeight : 0;
        int first = grouping == 2 ? tile % perWeight * ROWS : tile * ROWS;
        int count = min(ROWS, rows - first);
        if (grouping == 1) {
            weight = tiles[3 * tile];
            first = tiles[3 * tile + 1];
            count = tiles[3 * tile + 2];
        }
        int place = weight;
        if (placed != 0) {
            place = placeOf[weight];
            count = place < 0 ? 0 : count;
        }
        int output = getGroupId(0) * GROUP + lane;
        int panels = (outs + GROUP - 1) / GROUP;
        int blocks = (in + blockValues - 1) / blockValues;
        int base = (place * panels + getGroupId(0)) * blocks * blockWords * GROUP + lane;
        int last = first + count - 1;
        int step = weight * xStep;
        int x0 = first * xWidth + step;
        int x1 = min(first + 1, last) * xWidth + step;
        int x2 = min(first + 2, last) * xWidth + step;
        int x3 = min(first + 3, last) * xWidth + step;
        int x4 = min(first + 4, last) * xWidth + step;
        int x5 = min(first + 5, last) * xWidth + step;
        int x6 = min(first + 6, last) * xWidth + step;
        int x7 = min(first + 7, last) * xWidth + step;
        int slices = count > 0 ? (in + slice - 1) / slice : 0;
        float lower = 0;
        float upper = 0;
        for (int round = 0; round < slices; round += SLOTS) {
            int from = (round + slot) * slice;
            int to = min(in, from + slice);
            float a0 = 0;
            float a1 = 0;
            float a2 = 0;
            float a3 = 0;
            float a4 = 0;
            float a5 = 0;
            float a6 = 0;
            float a7 = 0;
            if (count == 1) {
                for (int k = from; k < to; k++) {
                    a0 = fma(weightAt(base, weight, output, k), x[x0 + k], a0);
                }
            } else {
                for (int k = from; k < to; k++) {
                    float v = weightAt(base, weight, output, k);
                    a0 = fma(v, x[x0 + k], a0);
                    a1 = fma(v, x[x1 + k], a1);
                    a2 = fma(v, x[x2 + k], a2);
                    a3 = fma(v, x[x3 + k], a3);
                    a4 = fma(v, x[x4 + k], a4);
                    a5 = fma(v, x[x5 + k], a5);
                    a6 = fma(v, x[x6 + k], a6);
                    a7 = fma(v, x[x7 + k], a7);
                }
            }
            int mine = slot * ROWS * GROUP + lane;
            partial[mine] = a0;
            partial[mine + GROUP] = a1;
            partial[mine + 2 * GROUP] = a2;
            partial[mine + 3 * GROUP] = a3;
            partial[mine + 4 * GROUP] = a4;
            partial[mine + 5 * GROUP] = a5;
            partial[mine + 6 * GROUP] = a6;
            partial[mine + 7 * GROUP] = a7;
            localBarrier();
            int parts = min(SLOTS, slices - round);
            for (int s = 0; s < parts; s++) {
                lower = lower + partial[(s * ROWS + slot) * GROUP + lane];
                upper = upper + partial[(s * ROWS + slot + SLOTS) * GROUP + lane];
            }
            localBarrier();
        }
        if (output < outs) {
            float shift = has != 0 ? bias[weight * allOuts + firstOutput + output] : 0;
            int to = (first + slot) * outWidth + column + weight * outStep + firstOutput + output;
            if (slot < count) {
                out[to] = lower + shift;
            }
            if (slot + SLOTS < count) {
                out[to + SLOTS * outWidth] = upper + shift;
            }
        }
    }

    /** Weights of any format to panels of float32: {@code panelsEach} of {@code firstWeight}, of the next one, and so on. */
    public void widen() {
        int i = getGlobalId(0);
        if (i < size) {
            int lane = i % GROUP;
            int panel = i / GROUP / in;
            int blocks = (in + blockValues - 1) / blockValues;
            int base = panel * blocks * blockWords * GROUP + lane;
            int output = panel % panelsEach * GROUP + lane;
            out[i] = output < outs ? weightAt(base, firstWeight + panel / panelsEach, output, i / GROUP % in) : 0;
        }
    }

    /** Values rounded to bfloat16. */
    public void rounded() {
        int i = getGlobalId(0);
        if (i < size) {
            out[i] = bf16(toBf16(x[i]));
        }
    }

    /** The same, two to a word, the first one lower: {@code [rows, outWidth]} words of rows of {@code in} values, zeros behind them. */
    public void pairs() {
        int i = getGlobalId(0);
        if (i < size) {
            int k = i % outWidth * 2;
            int from = i / outWidth * in + k;
            int low = k < in ? toBf16(x[from]) : 0;
            int high = k + 1 < in ? toBf16(x[from + 1]) : 0;
            words[i] = high << 16 | low;
        }
    }

    /** Rows of a table by number. */
    public void embed() {
        int i = getGlobalId(0);
        if (i < size) {
            int id = ids[i / in] - firstOutput;
            if (id >= 0 && id < outs) {
                int blocks = (in + blockValues - 1) / blockValues;
                int base = id / GROUP * blocks * blockWords * GROUP + id % GROUP;
                out[i] = weightAt(base, 0, id, i % in) * factor;
            }
        }
    }

    /** {@code format} is the ordinal of {@link io.nightmill.tensor.Format}. */
    float weightAt(int base, int weight, int output, int k) {
        float r = 0;
        if (format == 0) {
            r = asFloat(w[base + k * GROUP]);
        } else if (format == 2) {
            int word = w[base + (k >> 1) * GROUP];
            r = asFloat((k & 1) == 0 ? word << 16 : word & 0xffff0000);
        } else if (format == 1) {
            r = half(w[base + (k >> 1) * GROUP] >> 16 * (k & 1));
        } else if (format == 3) {
            r = byteFloat(w[base + (k >> 2) * GROUP] >> 8 * (k & 3))
                    * scaleAt(weight, min(firstOutput + output, allOuts - 1), k);
        } else {
            r = blockValue(base + k / blockValues * blockWords * GROUP, k % blockValues);
        }
        return r;
    }

    float scaleAt(int weight, int row, int k) {
        float r = 1;
        if (scaleRows > 0) {
            int perRow = (in + scaleColumns - 1) / scaleColumns;
            r = scales[weight * scalesAt + row / scaleRows * perRow + k / scaleColumns];
        }
        return r;
    }

    float byteFloat(int bits) {
        float value = asFloat((bits & 127) << 20) * 1.329228E36f;
        value = (bits & 127) == 127 ? asFloat(0x7fc00000) : value;
        return (bits & 128) != 0 ? -value : value;
    }

    /** Byte {@code i} of a block, with its neighbours above it. */
    int byteAt(int block, int i) {
        return w[block + (i >> 2) * GROUP] >> 8 * (i & 3);
    }

    int signedByte(int block, int i) {
        return byteAt(block, i) << 24 >> 24;
    }

    /** Two bytes at an even place. */
    float halfAt(int block, int i) {
        return half(w[block + (i >> 2) * GROUP] >> 8 * (i & 2));
    }

    float blockValue(int block, int i) {
        float r = 0;
        if (format == 4) {
            r = halfAt(block, 0) * signedByte(block, 2 + i);
        } else if (format == 5) {
            float d = halfAt(block, 0);
            r = d * nibble(block, 2, i) + -8 * d;
        } else if (format == 6) {
            r = halfAt(block, 0) * nibble(block, 4, i) + halfAt(block, 2);
        } else if (format == 7) {
            float d = halfAt(block, 0);
            r = d * five(block, 2, i) + -16 * d;
        } else if (format == 8) {
            r = halfAt(block, 0) * five(block, 4, i) + halfAt(block, 2);
        } else if (format == 9) {
            int part = i / 16;
            int scale = byteAt(block, part);
            int q = byteAt(block, 16 + part / 8 * 32 + part % 2 * 16 + i % 16) >> part % 8 / 2 * 2 & 3;
            r = halfAt(block, 80) * (scale & 15) * q - halfAt(block, 82) * (scale >> 4 & 15);
        } else if (format == 10) {
            r = threeBits(block, i);
        } else if (format == 11) {
            r = fourBits(block, i);
        } else if (format == 12) {
            r = fourBits(block, i);
        } else if (format == 13) {
            int part = i % 128 / 32;
            int l = i % 32;
            int high = byteAt(block, 128 + i / 128 * 32 + l) >> 2 * part & 3;
            int low = byteAt(block, i / 128 * 64 + part % 2 * 32 + l) >> part / 2 * 4 & 15;
            int scale = signedByte(block, 192 + i / 128 * 8 + 2 * part + l / 16);
            r = halfAt(block, 208) * scale * ((low | high << 4) - 32);
        } else if (format == 14) {
            r = halfAt(block, 0) * iq4(nibble(block, 2, i));
        } else if (format == 15) {
            int part = i / 32;
            int low = byteAt(block, 4 + part / 2) >> 4 * (part % 2) & 15;
            int high = byteAt(block, 2 + part / 4) >> 2 * (part % 4) & 3;
            r = halfAt(block, 0) * ((low | high << 4) - 32) * iq4(nibble(block, 8 + 16 * part, i % 32));
        } else {
            int e = byteAt(block, 0) & 255;
            r = asFloat(e == 0 ? 0x400000 : e << 23) * fp4(nibble(block, 1, i));
        }
        return r;
    }

    /** Of 16 bytes from {@code at} on: the low halves, then the high ones. */
    int nibble(int block, int at, int i) {
        return byteAt(block, at + i % 16) >> i / 16 * 4 & 15;
    }

    int five(int block, int at, int i) {
        return nibble(block, at + 4, i) | (byteAt(block, at + i / 8) >> i % 8 & 1) << 4;
    }

    int iq4(int q) {
        int word = 0xbfad9881;
        if (q > 11) {
            word = 0x71594535;
        } else if (q > 7) {
            word = 0x26190d01;
        } else if (q > 3) {
            word = 0xf6eaddcf;
        }
        return word >> 8 * (q & 3) << 24 >> 24;
    }

    float fp4(int q) {
        int twice = q & 7;
        if (twice > 4) {
            twice = twice == 7 ? 12 : 2 * twice - 4;
        }
        return (q & 8) != 0 ? -0.5f * twice : 0.5f * twice;
    }

    float threeBits(int block, int i) {
        int part = i / 16;
        int l = i % 16;
        int low = part < 8 ? byteAt(block, 96 + part) & 15 : byteAt(block, 88 + part) >> 4 & 15;
        int scale = (low | (byteAt(block, 104 + part % 4) >> part / 4 * 2 & 3) << 4) - 32;
        int q = byteAt(block, 32 + part / 8 * 32 + part % 2 * 16 + l) >> part % 8 / 2 * 2 & 3;
        int high = byteAt(block, part % 2 * 16 + l) >> part / 2 & 1;
        return halfAt(block, 108) * scale * (q - (high == 0 ? 4 : 0));
    }

    /** Q4_K and Q5_K. */
    float fourBits(int block, int i) {
        int part = i / 32;
        int l = i % 32;
        int s = 4 + part;
        int scale = 0;
        int offset = 0;
        if (part < 4) {
            scale = byteAt(block, s) & 63;
            offset = byteAt(block, s + 4) & 63;
        } else {
            scale = byteAt(block, s + 4) & 15 | (byteAt(block, s - 4) >> 6 & 3) << 4;
            offset = byteAt(block, s + 4) >> 4 & 15 | (byteAt(block, s) >> 6 & 3) << 4;
        }
        int low = format == 11 ? 16 : 48;
        int q = byteAt(block, low + part / 2 * 32 + l) >> part % 2 * 4 & 15;
        if (format == 12) {
            q = q | (byteAt(block, 16 + l) >> part & 1) << 4;
        }
        return halfAt(block, 0) * scale * q - halfAt(block, 2) * offset;
    }
}
