// One step of a matrix product by 32 items together: c [16 outputs, 8 rows] += a [16, 16] b [16, 8]. a and b are bfloat16, two to a word, sums are
// float32. Which item holds what is said by NVIDIA's PTX ISA under "Matrix Fragments for mma.m16n8k16": with g = lane / 4 and t = lane % 4, a holds the
// outputs g and g + 8 at the inputs 2 t and 2 t + 1, then both at 8 inputs further on; b the row g at the same inputs; c the outputs g and g + 8 of
// the rows 2 t and 2 t + 1.
//
// Elsewhere than on NVIDIA's devices the items exchange what they hold through local memory: slow, but it is what tests run. There, what need not be
// computed is computed too (MMA_WHERE): PoCL 3.1 hangs at barriers inside branches.

#ifdef __NV_CL_C_VERSION
#define MMA_ROOM __local uint room[1];
#define MMA_WHERE(condition) if (condition)

static void mma(float4 *c, uint4 a, uint2 b, __local uint *room) {
  float c0 = c->x, c1 = c->y, c2 = c->z, c3 = c->w;
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
  *c = (float4)(c0, c1, c2, c3);
}
#else
#define MMA_ROOM __local uint room[256 * 6];
#define MMA_WHERE(condition)

static float valueIn(uint word, int k) { return as_float(k % 2 == 0 ? word << 16 : word & 0xffff0000u); }

static void mma(float4 *c, uint4 a, uint2 b, __local uint *room) {
  int item = get_local_id(0);
  int lane = item % 32;
  __local uint *mine = room + item * 6;
  mine[0] = a.x;
  mine[1] = a.y;
  mine[2] = a.z;
  mine[3] = a.w;
  mine[4] = b.x;
  mine[5] = b.y;
  barrier(CLK_LOCAL_MEM_FENCE);
  __local uint *all = room + (item - lane) * 6;
  float sums[4] = {c->x, c->y, c->z, c->w};
  for (int j = 0; j < 4; j++) {
    int row = lane % 4 * 2 + j % 2;
    for (int k = 0; k < 16; k++) {
      uint v = all[(lane / 4 * 4 + k % 8 / 2) * 6 + j / 2 + k / 8 * 2];
      uint x = all[(row * 4 + k % 8 / 2) * 6 + 4 + k / 8];
      sums[j] = fma(valueIn(v, k), valueIn(x, k), sums[j]);
    }
  }
  *c = (float4)(sums[0], sums[1], sums[2], sums[3]);
  barrier(CLK_LOCAL_MEM_FENCE);
}
#endif
