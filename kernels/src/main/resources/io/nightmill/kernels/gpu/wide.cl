// Sixteen outputs side by side: multiply-adds with an input of one row or of eight, and where sums go, of which some may be beyond the last output.

#define FMA(a, r, v, k) a = fma(v, (float16)(r[k]), a)
#define EIGHT(v, k)                                                                                                    \
  FMA(a0, x0, v, k); FMA(a1, x1, v, k); FMA(a2, x2, v, k); FMA(a3, x3, v, k);                                          \
  FMA(a4, x4, v, k); FMA(a5, x5, v, k); FMA(a6, x6, v, k); FMA(a7, x7, v, k)

static void put(__global float *to, float16 value, const __global float *shift, int left) {
  if (left >= 16) {
    vstore16(shift ? value + vload16(0, shift) : value, 0, to);
  } else {
    float values[16];
    vstore16(value, 0, values);
    for (int i = 0; i < left; i++) {
      to[i] = shift ? values[i] + shift[i] : values[i];
    }
  }
}
