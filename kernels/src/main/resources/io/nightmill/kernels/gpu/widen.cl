// ProductKernels.widen of weights in blocks, after blocks.cl: an item takes 32 inputs of LANES outputs.

__kernel void WIDEN(PARAMETERS) {
  int item = get_global_id(0);
  int lane = item % (64 / LANES) * LANES;
  int group = item / (64 / LANES) % (in / 32);
  int panel = item / (64 / LANES) / (in / 32);
  if (panel * 64 >= size / in) {
    return;
  }
  int k = group * 32;
  int blocks = (in + blockValues - 1) / blockValues;
  int output = panel % panelsEach * 64 + lane;
  const __global int *block = w + w_at + ((long)panel * blocks + k / blockValues) * blockWords * 64 + lane;
  const __global float *factors = scaleRows ? scales + scales_at + (firstWeight + panel / panelsEach) * scalesAt : 0;
  FLOATS v[32];
  FLOATS scale = scaleOf(factors, firstOutput + output, allOuts, in, k, scaleRows, scaleColumns);
  unpack(format, block, blockValues == 256 ? k % 256 / 32 : 0, scale, v);
  __global float *to = out + out_at + ((long)panel * in + k) * 64 + lane;
  EACH {
#if LANES == 16
    vstore16(v[t], 0, to + t * 64);
#else
    to[t * 64] = v[t];
#endif
  }
}
