// ProductKernels.product for CPUs and weights in blocks: a work-item holds 16 outputs of up to 8 rows in vectors, and unpacks 32 inputs of them at a
// time. The same slices, added in the same order.

#define LANES 16
#include "blocks.cl"
#include "tile.cl"
#include "wide.cl"

#define UNPACK(v, k)                                                                                                   \
  unpack(format, mine + (k) / blockValues * blockWords * 64, blockValues == 256 ? (k) % 256 / 32 : 0,                  \
         scaleOf(factors, firstOutput + output, allOuts, in, k, scaleRows, scaleColumns), v)

__kernel void productBlocksWide(PARAMETERS) {
  int panel = get_group_id(1);
  int output = panel * 64 + get_local_id(0) * 16;
  Tile tile = tileOf(get_group_id(0), 8, rows, grouping, tiles + tiles_at, placed ? placeOf + placeOf_at : 0);
  int first = tile.first;
  int count = tile.end - first;
  int left = outs - output;
  if (tile.place < 0 || count <= 0 || left <= 0) {
    return;
  }
  int blocks = (in + blockValues - 1) / blockValues;
  const __global int *mine = w + w_at + ((long)tile.place * ((outs + 63) / 64) + panel) * blocks * blockWords * 64 + get_local_id(0) * 16;
  const __global float *factors = scaleRows ? scales + scales_at + tile.weight * scalesAt : 0;
  EIGHT_ROWS(x + x_at + (long)first * xWidth + tile.weight * xStep, xWidth, count);
  float16 t0 = 0, t1 = 0, t2 = 0, t3 = 0, t4 = 0, t5 = 0, t6 = 0, t7 = 0;
  int from = 0;
  for (; count == 1 && from + 4 * slice <= in; from += 4 * slice) {
    // Four slices at once: sums that do not wait for each other.
    float16 a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    for (int k = from; k < from + slice; k += 32) {
      float16 v[4][32];
      for (int s = 0; s < 4; s++) {
        UNPACK(v[s], k + s * slice);
      }
      for (int t = 0; t < 32; t++) {
        FMA(a0, x0, v[0][t], k + t);
        FMA(a1, x0, v[1][t], k + slice + t);
        FMA(a2, x0, v[2][t], k + 2 * slice + t);
        FMA(a3, x0, v[3][t], k + 3 * slice + t);
      }
    }
    t0 += a0; t0 += a1; t0 += a2; t0 += a3;
  }
  for (; from < in; from += slice) {
    int end = min(in, from + slice);
    float16 a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0, a6 = 0, a7 = 0;
    for (int k = from; k < end; k += 32) {
      float16 v[32];
      UNPACK(v, k);
      if (count == 1) {
        for (int t = 0; t < 32; t++) {
          FMA(a0, x0, v[t], k + t);
        }
      } else {
        for (int t = 0; t < 32; t++) {
          EIGHT(v[t], k + t);
        }
      }
    }
    t0 += a0; t1 += a1; t2 += a2; t3 += a3; t4 += a4; t5 += a5; t6 += a6; t7 += a7;
  }
  const __global float *shift = has ? bias + bias_at + tile.weight * allOuts + firstOutput + output : 0;
  __global float *to = out + out_at + (long)first * outWidth + column + tile.weight * outStep + firstOutput + output;
  float16 sums[8] = {t0, t1, t2, t3, t4, t5, t6, t7};
  for (int i = 0; i < count; i++) {
    put(to + (long)i * outWidth, sums[i], shift, left);
  }
}
