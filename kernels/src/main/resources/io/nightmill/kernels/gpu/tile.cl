// What a group computes: rows first .. end of the weight that is at a place. A grouping is ProductKernels.product's: so many rows of the one weight, tiles of a
// table, or so many rows of each weight. Without places, weights are in order.
typedef struct {
  int weight;
  int place;
  int first;
  int end;
} Tile;

static Tile tileOf(int number, int each, int rows, int grouping, __global const int *table, __global const int *places) {
  int perWeight = grouping == 2 ? (rows + each - 1) / each : number + 1;
  Tile tile = {number / perWeight, 0, number % perWeight * each, 0};
  tile.end = min(tile.first + each, rows);
  if (grouping == 1) {
    tile.weight = table[3 * number];
    tile.first = table[3 * number + 1];
    tile.end = tile.first + table[3 * number + 2];
  }
  tile.place = places ? places[tile.weight] : tile.weight;
  return tile;
}

// x0 .. x7: so many rows, the last one again for those that are not there.
#define EIGHT_ROWS(row, width, count)                                                                                  \
  __global const float *x0 = row;                                                                                      \
  __global const float *x1 = x0 + min(1, count - 1) * width;                                                           \
  __global const float *x2 = x0 + min(2, count - 1) * width;                                                           \
  __global const float *x3 = x0 + min(3, count - 1) * width;                                                           \
  __global const float *x4 = x0 + min(4, count - 1) * width;                                                           \
  __global const float *x5 = x0 + min(5, count - 1) * width;                                                           \
  __global const float *x6 = x0 + min(6, count - 1) * width;                                                           \
  __global const float *x7 = x0 + min(7, count - 1) * width
