// Thirty-two values of an output as float32, by the formulas of ProductKernels.weightAt. LANES outputs side by side: 16 on CPUs, one on GPUs.

#pragma OPENCL FP_CONTRACT OFF

#if LANES == 16
#define INTS int16
#define FLOATS float16
#define TO_FLOATS(x) convert_float16(x)
#define AS_FLOATS(x) as_float16(x)
#define AS_INTS(x) as_int16(x)
#define WORD(j) vload16(0, block + (j) * 64)
#else
#define INTS int
#define FLOATS float
#define TO_FLOATS(x) convert_float(x)
#define AS_FLOATS(x) as_float(x)
#define AS_INTS(x) as_int(x)
#define WORD(j) block[(j) * 64]
#endif

// Byte i of a block, with its neighbours above it; two bytes at an even place; the half of a byte that is one of 32 in 16 bytes.
#define BYTE(i) (WORD((i) >> 2) >> (8 * ((i) & 3)))
#define HALF(i) halves(WORD((i) >> 2) >> (8 * ((i) & 2)))
#define NIBBLE(at, i) (BYTE((at) + (i) % 16) >> ((i) / 16 * 4) & 15)
#define FIVE(at, i) (NIBBLE((at) + 4, i) | (BYTE((at) + (i) / 8) >> ((i) % 8) & 1) << 4)
#define EACH _Pragma("unroll") for (int t = 0; t < 32; t++)

static FLOATS halves(INTS bits) {
  FLOATS amount = AS_FLOATS((bits & 0x7fff) << 13) * 5.192297E33f;
  return AS_FLOATS(AS_INTS(amount) | (bits & 0x8000) << 16);
}

static FLOATS e4m3(INTS bits) {
  FLOATS amount = AS_FLOATS((bits & 127) << 20) * 1.329228E36f;
  amount = select(amount, AS_FLOATS((bits & 0) | 0x7fc00000), (bits & 127) == 127);
  return AS_FLOATS(AS_INTS(amount) | (bits & 128) << 24);
}

static INTS iq4(INTS q) {
  INTS word = select((q & 0) | (int)0xbfad9881, (q & 0) | (int)0xf6eaddcf, q > 3);
  word = select(word, (q & 0) | 0x26190d01, q > 7);
  word = select(word, (q & 0) | 0x71594535, q > 11);
  return word >> (8 * (q & 3)) << 24 >> 24;
}

static FLOATS fp4(INTS q) {
  INTS twice = q & 7;
  twice = select(twice, 2 * twice - 4, twice > 4);
  twice = select(twice, (q & 0) | 12, (q & 7) == 7);
  FLOATS amount = 0.5f * TO_FLOATS(twice);
  return AS_FLOATS(AS_INTS(amount) | (q & 8) << 28);
}

// part of a block of 256, else 0; scale of a weight in bytes.
static void unpack(int format, __global const int *block, int part, FLOATS scale, FLOATS *v) {
  if (format == 1) {
    EACH v[t] = halves(WORD(t / 2) >> (16 * (t & 1)));
  } else if (format == 3) {
    EACH v[t] = e4m3(BYTE(t)) * scale;
  } else if (format == 4) {
    FLOATS d = HALF(0);
    EACH v[t] = d * TO_FLOATS(BYTE(2 + t) << 24 >> 24);
  } else if (format == 5) {
    FLOATS d = HALF(0);
    EACH v[t] = d * TO_FLOATS(NIBBLE(2, t)) + -8.0f * d;
  } else if (format == 6) {
    FLOATS d = HALF(0), low = HALF(2);
    EACH v[t] = d * TO_FLOATS(NIBBLE(4, t)) + low;
  } else if (format == 7) {
    FLOATS d = HALF(0);
    EACH v[t] = d * TO_FLOATS(FIVE(2, t)) + -16.0f * d;
  } else if (format == 8) {
    FLOATS d = HALF(0), low = HALF(2);
    EACH v[t] = d * TO_FLOATS(FIVE(4, t)) + low;
  } else if (format == 9) {
    FLOATS d = HALF(80), low = HALF(82);
    int at = 16 + part / 4 * 32;
    EACH {
      INTS s = BYTE(part * 2 + t / 16);
      INTS q = BYTE(at + t) >> (part % 4 * 2) & 3;
      v[t] = d * TO_FLOATS(s & 15) * TO_FLOATS(q) - low * TO_FLOATS(s >> 4 & 15);
    }
  } else if (format == 10) {
    FLOATS d = HALF(108);
    EACH {
      int p = part * 2 + t / 16;
      INTS low = p < 8 ? BYTE(96 + p) & 15 : BYTE(88 + p) >> 4 & 15;
      INTS s = (low | (BYTE(104 + p % 4) >> (p / 4 * 2) & 3) << 4) - 32;
      INTS q = BYTE(32 + part / 4 * 32 + t) >> (part % 4 * 2) & 3;
      INTS high = BYTE(t) >> part & 1;
      v[t] = d * TO_FLOATS(s) * TO_FLOATS(q - (1 - high) * 4);
    }
  } else if (format == 11 || format == 12) {
    int low = format == 11 ? 16 : 48;
    INTS s = part < 4 ? BYTE(4 + part) & 63 : BYTE(8 + part) & 15 | (BYTE(part) >> 6 & 3) << 4;
    INTS m = part < 4 ? BYTE(8 + part) & 63 : BYTE(8 + part) >> 4 & 15 | (BYTE(4 + part) >> 6 & 3) << 4;
    FLOATS d = HALF(0) * TO_FLOATS(s), shift = HALF(2) * TO_FLOATS(m);
    EACH {
      INTS q = BYTE(low + part / 2 * 32 + t) >> (part % 2 * 4) & 15;
      q = format == 12 ? q | (BYTE(16 + t) >> part & 1) << 4 : q;
      v[t] = d * TO_FLOATS(q) - shift;
    }
  } else if (format == 13) {
    FLOATS d = HALF(208);
    EACH {
      INTS high = BYTE(128 + part / 4 * 32 + t) >> (2 * (part % 4)) & 3;
      INTS low = BYTE(part / 4 * 64 + part % 2 * 32 + t) >> (part % 4 / 2 * 4) & 15;
      INTS s = BYTE(192 + 2 * part + t / 16) << 24 >> 24;
      v[t] = d * TO_FLOATS(s) * TO_FLOATS((low | high << 4) - 32);
    }
  } else if (format == 14) {
    FLOATS d = HALF(0);
    EACH v[t] = d * TO_FLOATS(iq4(NIBBLE(2, t)));
  } else if (format == 15) {
    INTS low = BYTE(4 + part / 2) >> (4 * (part % 2)) & 15;
    INTS high = BYTE(2 + part / 4) >> (2 * (part % 4)) & 3;
    FLOATS d = HALF(0) * TO_FLOATS((low | high << 4) - 32);
    EACH v[t] = d * TO_FLOATS(iq4(NIBBLE(8 + 16 * part, t)));
  } else {
    INTS e = BYTE(0) & 255;
    FLOATS d = AS_FLOATS(select(e << 23, (e & 0) | 0x400000, e == 0));
    EACH v[t] = d * fp4(NIBBLE(1, t));
  }
}

// The factor of LANES outputs' bytes at an input.
static FLOATS scaleOf(__global const float *scales, int output, int allOuts, int in, int k, int scaleRows, int scaleColumns) {
  if (scaleRows == 0) {
    return 1;
  }
  int perRow = (in + scaleColumns - 1) / scaleColumns;
  float found[LANES];
  for (int n = 0; n < LANES; n++) {
    found[n] = scales[min(output + n, allOuts - 1) / scaleRows * perRow + k / scaleColumns];
  }
#if LANES == 16
  return vload16(0, found);
#else
  return found[0];
#endif
}
