// ProductKernels.product for GPUs, few rows and weights in blocks: as there, but an item unpacks 32 inputs of its output at a time.

#define LANES 1
#include "blocks.cl"
#include "tile.cl"

#define ADD(a, r) a = fma(v[t], r[k + t], a)

__kernel __attribute__((reqd_work_group_size(64, 4, 1))) void productBlocks(PARAMETERS) {
  int lane = get_local_id(0);
  int slot = get_local_id(1);
  int panel = get_group_id(0);
  int output = panel * 64 + lane;
  Tile tile = tileOf(get_group_id(1), 8, rows, grouping, tiles + tiles_at, placed ? placeOf + placeOf_at : 0);
  int first = tile.first;
  int count = tile.end - first;
  if (tile.place < 0 || count <= 0) {
    return;
  }
  int blocks = (in + blockValues - 1) / blockValues;
  __global const int *mine = w + w_at + ((long)tile.place * ((outs + 63) / 64) + panel) * blocks * blockWords * 64 + lane;
  __global const float *factors = scaleRows ? scales + scales_at + tile.weight * scalesAt : 0;
  EIGHT_ROWS(x + x_at + (long)first * xWidth + tile.weight * xStep, xWidth, count);
  int slices = (in + slice - 1) / slice;
  float lower = 0;
  float upper = 0;
  for (int round = 0; round < slices; round += 4) {
    int from = (round + slot) * slice;
    int end = min(in, from + slice);
    float a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0, a6 = 0, a7 = 0;
    for (int k = from; k < end; k += 32) {
      float v[32];
      float scale = scaleOf(factors, firstOutput + output, allOuts, in, k, scaleRows, scaleColumns);
      unpack(format, mine + k / blockValues * blockWords * 64, blockValues == 256 ? k % 256 / 32 : 0, scale, v);
      if (count == 1) {
        EACH ADD(a0, x0);
      } else {
        EACH { ADD(a0, x0); ADD(a1, x1); ADD(a2, x2); ADD(a3, x3); ADD(a4, x4); ADD(a5, x5); ADD(a6, x6); ADD(a7, x7); }
      }
    }
    __local float *to = partial + slot * 8 * 64 + lane;
    to[0] = a0; to[64] = a1; to[128] = a2; to[192] = a3; to[256] = a4; to[320] = a5; to[384] = a6; to[448] = a7;
    barrier(CLK_LOCAL_MEM_FENCE);
    int parts = min(4, slices - round);
    for (int s = 0; s < parts; s++) {
      lower += partial[(s * 8 + slot) * 64 + lane];
      upper += partial[(s * 8 + slot + 4) * 64 + lane];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (output < outs) {
    float shift = has ? (bias + bias_at)[tile.weight * allOuts + firstOutput + output] : 0;
    __global float *to = out + out_at + (long)(first + slot) * outWidth + column + tile.weight * outStep + firstOutput + output;
    if (slot < count) {
      to[0] = has ? lower + shift : lower;
    }
    if (slot + 4 < count) {
      to[4 * (long)outWidth] = has ? upper + shift : upper;
    }
  }
}
