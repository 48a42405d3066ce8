// ProductKernels.product for CPUs: a work-item holds 16 outputs of 8 rows in vectors, since PoCL makes vectors of loops over
// work-items only where the loop inside is gone. float32 and bfloat16 weights. The same slices, added in the same order.

#include "tile.cl"
#include "wide.cl"

#define WEIGHTS(at, k) as_float16(vload16(0, panel + (k) * 64 + (at)))
#define WORDS(at, k) vload16(0, panel + (k) / 2 * 64 + (at))
#define EVEN(word) as_float16((word) << 16)
#define ODD(word) as_float16((word) & (int)0xffff0000)

// One row at an input of the panel's 64 outputs, or at two of bfloat16.
#define FLOATS(a, b, c, d, k)                                                                                          \
  FMA(a, x0, WEIGHTS(0, k), k); FMA(b, x0, WEIGHTS(16, k), k); FMA(c, x0, WEIGHTS(32, k), k); FMA(d, x0, WEIGHTS(48, k), k)
#define PAIR(a, word, k) FMA(a, x0, EVEN(word), k); FMA(a, x0, ODD(word), (k) + 1)
#define PAIRS(a, b, c, d, k)                                                                                           \
  {                                                                                                                    \
    int16 p0 = WORDS(0, k), p1 = WORDS(16, k), p2 = WORDS(32, k), p3 = WORDS(48, k);                                   \
    PAIR(a, p0, k); PAIR(b, p1, k); PAIR(c, p2, k); PAIR(d, p3, k);                                                    \
  }

__kernel void productWide(PARAMETERS) {
  // Groups that follow each other read the same panel: it stays in a core's cache.
  Tile tile = tileOf(get_group_id(0), 8, rows, grouping, tiles + tiles_at, placed ? placeOf + placeOf_at : 0);
  int output = get_group_id(1) * 64 + get_local_id(0) * 16;
  int count = tile.end - tile.first;
  if (tile.place < 0) {
    return;
  }
  int panels = (outs + 63) / 64;
  int words = (in + blockValues - 1) / blockValues;
  const __global int *panel = w + w_at + (tile.place * panels + (int)get_group_id(1)) * words * 64 + get_local_id(0) * 16;
  EIGHT_ROWS(x + x_at + tile.first * xWidth + tile.weight * xStep, xWidth, count);
  const __global float *shift = has ? bias + bias_at + tile.weight * allOuts + firstOutput + output : 0;
  __global float *to = out + out_at + (long)tile.first * outWidth + column + tile.weight * outStep + firstOutput + output;
  int left = outs - output;
  float16 t0 = 0, t1 = 0, t2 = 0, t3 = 0, t4 = 0, t5 = 0, t6 = 0, t7 = 0;
  if (count == 1 && get_local_id(0) == 0) {
    // One item takes all four vectors of the panel: sums that do not wait for each other.
    int from = 0;
    for (; from + 2 * slice <= in; from += 2 * slice) {
      // Two slices at once, for the same reason.
      float16 a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      if (format == 0) {
        for (int k = from; k < from + slice; k++) {
          FLOATS(a0, a1, a2, a3, k);
          FLOATS(b0, b1, b2, b3, k + slice);
        }
      } else {
        for (int k = from; k < from + slice; k += 2) {
          PAIRS(a0, a1, a2, a3, k);
          PAIRS(b0, b1, b2, b3, k + slice);
        }
      }
      t0 += a0; t1 += a1; t2 += a2; t3 += a3;
      t0 += b0; t1 += b1; t2 += b2; t3 += b3;
    }
    for (; from < in; from += slice) {
      int end = min(in, from + slice);
      float16 a0 = 0, a1 = 0, a2 = 0, a3 = 0;
      if (format == 0) {
        for (int k = from; k < end; k++) {
          FLOATS(a0, a1, a2, a3, k);
        }
      } else {
        int pairs = end - (end - from) % 2;
        for (int k = from; k < pairs; k += 2) {
          PAIRS(a0, a1, a2, a3, k);
        }
        if (pairs < end) {
          FMA(a0, x0, EVEN(WORDS(0, pairs)), pairs);
          FMA(a1, x0, EVEN(WORDS(16, pairs)), pairs);
          FMA(a2, x0, EVEN(WORDS(32, pairs)), pairs);
          FMA(a3, x0, EVEN(WORDS(48, pairs)), pairs);
        }
      }
      t0 += a0; t1 += a1; t2 += a2; t3 += a3;
    }
    put(to, t0, shift, left);
    put(to + 16, t1, shift ? shift + 16 : 0, left - 16);
    put(to + 32, t2, shift ? shift + 32 : 0, left - 32);
    put(to + 48, t3, shift ? shift + 48 : 0, left - 48);
  } else if (count > 1 && left > 0) {
    for (int from = 0; from < in; from += slice) {
      int end = min(in, from + slice);
      float16 a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0, a6 = 0, a7 = 0;
      if (format == 0) {
        for (int k = from; k < end; k++) {
          float16 v = WEIGHTS(0, k);
          EIGHT(v, k);
        }
      } else {
        // A slice begins at an even input.
        int pairs = end - (end - from) % 2;
        for (int k = from; k < pairs; k += 2) {
          int16 word = WORDS(0, k);
          float16 v = EVEN(word);
          EIGHT(v, k);
          v = ODD(word);
          EIGHT(v, k + 1);
        }
        if (pairs < end) {
          float16 v = EVEN(WORDS(0, pairs));
          EIGHT(v, pairs);
        }
      }
      t0 += a0; t1 += a1; t2 += a2; t3 += a3; t4 += a4; t5 += a5; t6 += a6; t7 += a7;
    }
    put(to, t0, shift, left);
    put(to + outWidth, t1, shift, left);
    if (count > 2) put(to + 2 * outWidth, t2, shift, left);
    if (count > 3) put(to + 3 * outWidth, t3, shift, left);
    if (count > 4) put(to + 4 * outWidth, t4, shift, left);
    if (count > 5) put(to + 5 * outWidth, t5, shift, left);
    if (count > 6) put(to + 6 * outWidth, t6, shift, left);
    if (count > 7) put(to + 7 * outWidth, t7, shift, left);
  }
}
