// What a group computes: rows first .. end of the weight that is at a place. Without a table of tiles it is so many rows of the one weight; without places,
// weights are in order.
typedef struct {
  int weight;
  int place;
  int first;
  int end;
} Tile;

static Tile tileOf(int number, int each, int rows, __global const int *table, __global const int *places) {
  Tile tile = {0, 0, number * each, min(number * each + each, rows)};
  if (table) {
    tile.weight = table[3 * number];
    tile.first = table[3 * number + 1];
    tile.end = tile.first + table[3 * number + 2];
  }
  tile.place = places ? places[tile.weight] : tile.weight;
  return tile;
}
