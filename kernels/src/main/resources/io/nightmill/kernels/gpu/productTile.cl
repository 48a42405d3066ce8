// ProductKernels.product for GPUs and many rows: a group of 16 by 16 items takes 128 rows by 64 outputs, sixteen inputs at a time through local
// memory, and an item 8 rows by 4 outputs in registers. float32, float16 and bfloat16 weights. A slice's sum is added to the output when the slice
// ends, so the additions are those of every other form.

#include "tile.cl"

#define STEP 16
#define ROWS 128
#define ROW_STRIDE 132

__kernel void productTile(PARAMETERS) {
  __local float rowsOf[STEP * ROW_STRIDE];
  __local float outputsOf[STEP * 64];
  int item = get_local_id(1) * 16 + get_local_id(0);
  Tile tile = tileOf(get_group_id(1), ROWS, rows, grouping, tiles + tiles_at, placed ? placeOf + placeOf_at : 0);
  int first = tile.first;
  int end = tile.end;
  if (tile.place < 0 || first >= end) {
    return;
  }
  int panel = get_group_id(0);
  int words = (in + blockValues - 1) / blockValues;
  __global const int *weights = w + w_at + ((long)tile.place * ((outs + 63) / 64) + panel) * words * 64;
  // Of a step, an item brings eight inputs of one row.
  int row = min(first + item / 2, end - 1);
  __global const float *mine = x + x_at + (long)row * xWidth;
  int myRow = get_local_id(1) * 8;
  int myOutput = get_local_id(0) * 4;
  float4 sums[8];
  for (int i = 0; i < 8; i++) {
    sums[i] = 0;
  }
  for (int from = 0; from < in; from += STEP) {
    int steps = min(STEP, in - from);
    for (int i = 0; i < 8; i++) {
      int k = item % 2 * 8 + i;
      rowsOf[k * ROW_STRIDE + item / 2] = k < steps ? mine[from + k] : 0;
    }
    for (int i = 0; i < 4; i++) {
      int k = item / 64 + 4 * i;
      int output = item % 64;
      float value = 0;
      if (k < steps) {
        if (format == 0) {
          value = as_float(weights[(from + k) * 64 + output]);
        } else {
          int word = weights[(from + k) / 2 * 64 + output] >> (from + k) % 2 * 16;
          value = format == 2 ? as_float(word << 16) : as_float((word & 0x7fff) << 13) * 5.192297E33f;
          value = format != 2 && (word & 0x8000) ? -value : value;
        }
      }
      outputsOf[k * 64 + output] = value;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < steps; k++) {
      float4 v = vload4(0, outputsOf + k * 64 + myOutput);
      float4 a = vload4(0, rowsOf + k * ROW_STRIDE + myRow);
      float4 b = vload4(0, rowsOf + k * ROW_STRIDE + myRow + 4);
      sums[0] = fma(v, (float4)(a.x), sums[0]);
      sums[1] = fma(v, (float4)(a.y), sums[1]);
      sums[2] = fma(v, (float4)(a.z), sums[2]);
      sums[3] = fma(v, (float4)(a.w), sums[3]);
      sums[4] = fma(v, (float4)(b.x), sums[4]);
      sums[5] = fma(v, (float4)(b.y), sums[5]);
      sums[6] = fma(v, (float4)(b.z), sums[6]);
      sums[7] = fma(v, (float4)(b.w), sums[7]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    bool last = from + STEP >= in;
    if (last || (from + STEP) % slice == 0) {
      for (int i = 0; i < 8; i++) {
        int r = first + myRow + i;
        float values[4];
        vstore4(sums[i], 0, values);
        sums[i] = 0;
        for (int j = 0; j < 4; j++) {
          int output = panel * 64 + myOutput + j;
          if (r < end && output < outs) {
            __global float *to = out + out_at + (long)r * outWidth + column + firstOutput + output;
            float sum = (from < slice ? 0.0f : *to) + values[j];
            *to = last && has ? sum + (bias + bias_at)[tile.weight * allOuts + firstOutput + output] : sum;
          }
        }
      }
    }
  }
}
