// ProductKernels.product for devices with matrix instructions, bfloat16 weights and few rows: a group of eight warps takes 64 outputs of up to 32 rows,
// each warp a slice of the inputs; the slices are then added in order, eight rows of all warps at a time in partial. x has bfloat16 pairs, zeros behind them.
#include "mma.cl"
#include "tile.cl"

__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void productMatrixFew(PARAMETERS) {
  MMA_ROOM
  int item = get_local_id(0);
  int warp = item / 32;
  int g = item % 32 / 4;
  int t = item % 4;
  Tile tile = tileOf(get_group_id(1), 32, rows, grouping, tiles + tiles_at, placed ? placeOf + placeOf_at : 0);
  int first = tile.first;
  int count = tile.end - first;
  if (tile.place < 0 || count <= 0) {
    return;
  }
  int panels = (outs + 63) / 64;
  int words = (in + 1) / 2;
  __global const uint *panel = (__global const uint *)(w + w_at) + (long)(tile.place * panels + (int)get_group_id(0)) * words * 64;
  __global const uint *pairs = (__global const uint *)(x + x_at) + (long)first * xWidth;
  int eights = (count + 7) / 8;
  float4 c[4][4] = {{0}};
  for (int step = 0; step < slice / 16; step++) {
    int k = warp * (slice / 2) + step * 8 + t;
    bool near = k < words;
    bool far = k + 4 < words;
    uint2 b[4];
#pragma unroll
    for (int n = 0; n < 4; n++) {
      __global const uint *row = pairs + (long)min(n * 8 + g, count - 1) * xWidth;
      b[n] = n < eights ? (uint2)(near ? row[k] : 0, far ? row[k + 4] : 0) : (uint2)(0);
    }
#pragma unroll
    for (int m = 0; m < 4; m++) {
      __global const uint *v = panel + (long)k * 64 + m * 16 + g;
      uint4 a = (uint4)(near ? v[0] : 0, near ? v[8] : 0, far ? v[4 * 64] : 0, far ? v[4 * 64 + 8] : 0);
#pragma unroll
      for (int n = 0; n < 4; n++) {
        MMA_WHERE(n < eights) {
          mma(&c[m][n], a, b[n], room);
        }
      }
    }
  }
  int slices = (in + slice - 1) / slice;
#pragma unroll
  for (int n = 0; n < 4; n++) {
    MMA_WHERE(n < eights) {
#pragma unroll
      for (int m = 0; m < 4; m++) {
        __local float *to = partial + (warp * 8 + 2 * t) * 64 + m * 16 + g;
        to[0] = c[m][n].x;
        to[64] = c[m][n].y;
        to[8] = c[m][n].z;
        to[72] = c[m][n].w;
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int at = item; at < 8 * 64; at += 256) {
        int row = n * 8 + at / 64;
        int output = get_group_id(0) * 64 + at % 64;
        float sum = 0;
        for (int s = 0; s < slices; s++) {
          sum += partial[s * 8 * 64 + at];
        }
        if (row < count && output < outs) {
          float shift = has ? (bias + bias_at)[tile.weight * allOuts + firstOutput + output] : 0;
          (out + out_at)[(long)(first + row) * outWidth + column + firstOutput + output] = has ? sum + shift : sum;
        }
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
  }
}
