// ProductKernels.product for devices with matrix instructions, bfloat16 weights and many rows: a group of eight warps takes 128 outputs of 128 rows,
// 32 inputs at a time through local memory, the next 32 being on their way meanwhile; a warp takes 64 outputs of 32 rows. The additions are those of
// productMatrixFew.
#include "mma.cl"
#include "tile.cl"

// Words between neighbours in local memory: 32 items read 32 banks.
#define OUTPUTS_STRIDE 136
#define ROW_STRIDE 20

// Words from a place on, from global memory; and their way into local memory.
#define BRING(from)                                                                                                    \
  _Pragma("unroll") for (int j = 0; j < 2; j++) {                                                                      \
    int at = item + 256 * j;                                                                                           \
    int k = (from) + at / 32;                                                                                          \
    int p = panel + at % 32 / 16;                                                                                      \
    nextOutputs[j] = k < words && p < panels ? vload4(0, weights + ((long)p * words + k) * 64 + at % 16 * 4) : (uint4)(0);\
    nextRows[j] = vload4(0, pairs + (long)min(first + at / 4, end - 1) * xWidth + (from) + at % 4 * 4);                \
  }
#define PUT                                                                                                            \
  _Pragma("unroll") for (int j = 0; j < 2; j++) {                                                                      \
    int at = item + 256 * j;                                                                                           \
    vstore4(nextOutputs[j], 0, outputsOf + at / 32 * OUTPUTS_STRIDE + at % 32 * 4);                                    \
    vstore4(nextRows[j], 0, rowsOf + at / 4 * ROW_STRIDE + at % 4 * 4);                                                \
  }

__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void productMatrixMany(PARAMETERS) {
  MMA_ROOM
  __local uint outputsOf[16 * OUTPUTS_STRIDE];
  __local uint rowsOf[128 * ROW_STRIDE];
  int item = get_local_id(0);
  int g = item % 32 / 4;
  int t = item % 4;
  int myPanel = item / 32 % 2;
  int myRows = item / 64 * 32;
  Tile tile = tileOf(get_group_id(1), 128, rows, grouping, tiles + tiles_at, placed ? placeOf + placeOf_at : 0);
  int first = tile.first;
  int end = tile.end;
  if (tile.place < 0 || first >= end) {
    return;
  }
  int panel = get_group_id(0) * 2;
  int panels = (outs + 63) / 64;
  int words = (in + 1) / 2;
  __global const uint *weights = (__global const uint *)(w + w_at) + (long)tile.place * panels * words * 64;
  __global const uint *pairs = (__global const uint *)(x + x_at);
  uint4 nextOutputs[2];
  uint4 nextRows[2];
  float4 c[4][4] = {{0}};
  float4 total[4][4] = {{0}};
  BRING(0)
  PUT
  for (int from = 0; from < words; from += 16) {
    int next = from + 16;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (next < words) {
      BRING(next)
    }
#pragma unroll
    for (int part = 0; part < 2; part++) {
      uint4 a[4];
      uint2 b[4];
#pragma unroll
      for (int m = 0; m < 4; m++) {
        __local uint *v = outputsOf + (part * 8 + t) * OUTPUTS_STRIDE + myPanel * 64 + m * 16 + g;
        a[m] = (uint4)(v[0], v[8], v[4 * OUTPUTS_STRIDE], v[4 * OUTPUTS_STRIDE + 8]);
        __local uint *r = rowsOf + (myRows + m * 8 + g) * ROW_STRIDE + part * 8 + t;
        b[m] = (uint2)(r[0], r[4]);
      }
#pragma unroll
      for (int m = 0; m < 4; m++) {
#pragma unroll
        for (int n = 0; n < 4; n++) {
          mma(&c[m][n], a[m], b[n], room);
        }
      }
    }
    if (next >= words || next * 2 % slice == 0) {
#pragma unroll
      for (int m = 0; m < 4; m++) {
#pragma unroll
        for (int n = 0; n < 4; n++) {
          total[m][n] += c[m][n];
          c[m][n] = 0;
        }
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    PUT
  }
#pragma unroll
  for (int m = 0; m < 4; m++) {
#pragma unroll
    for (int n = 0; n < 4; n++) {
      float values[4] = {total[m][n].x, total[m][n].y, total[m][n].z, total[m][n].w};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int row = first + myRows + n * 8 + 2 * t + j % 2;
        int output = (panel + myPanel) * 64 + m * 16 + g + j / 2 * 8;
        if (row < end && output < outs) {
          float sum = values[j];
          (out + out_at)[(long)row * outWidth + column + firstOutput + output] =
              has ? sum + (bias + bias_at)[tile.weight * allOuts + firstOutput + output] : sum;
        }
      }
    }
  }
}
