package io.nightmill.kernels;

import java.util.Arrays;

/**
 * Rows of an operation's activations, {@value #ROWS} side by side: {@code [tiles, in, 4]}. A product then reads one stream of values
 * where it read four, and C2 has enough registers for their addresses. The last tile of a group is filled up with zeros.
 */
final class RowTiles {
    static final int ROWS = 4;

    /** Values that a task lays. */
    private static final int TASK = 1 << 15;

    private float[] values = new float[0];
    private int[] firstTiles = new int[1];
    private int in;

    float[] values() {
        return values;
    }

    /** So many rows in whole tiles. */
    static int whole(int rows) {
        return (rows + ROWS - 1) / ROWS * ROWS;
    }

    /** Where a group's tile begins that has its row {@code row}, a multiple of {@value #ROWS}. */
    int place(int group, int row) {
        return (firstTiles[group] + row / ROWS) * ROWS * in;
    }

    /** Lays the rows {@code starts[g] .. starts[g + 1] - 1} of each group; until the next call. */
    void lay(float[] x, int xo, int xs, int[] starts, int width, Workers workers) {
        in = width;
        int groups = starts.length - 1;
        firstTiles = new int[groups + 1];
        for (int g = 0; g < groups; g++) {
            firstTiles[g + 1] = firstTiles[g] + whole(starts[g + 1] - starts[g]) / ROWS;
        }
        int tiles = firstTiles[groups];
        int size = Math.multiplyExact(tiles, ROWS * in);
        if (values.length < size) {
            values = new float[size];
        }
        int perTask = Math.max(1, TASK / (ROWS * in));
        workers.run((tiles + perTask - 1) / perTask, task -> {
            int from = task * perTask;
            int group = Arrays.binarySearch(firstTiles, from);
            group = group < 0 ? -2 - group : group;
            for (int tile = from; tile < Math.min(tiles, from + perTask); tile++) {
                while (tile >= firstTiles[group + 1]) {
                    group++;
                }
                int row = starts[group] + (tile - firstTiles[group]) * ROWS;
                lay(x, xo + row * xs, xs, Math.min(ROWS, starts[group + 1] - row), tile * ROWS * in);
            }
        });
    }

    private void lay(float[] x, int xo, int xs, int count, int to) {
        if (count < ROWS) {
            for (int i = 0; i < count; i++) {
                put(x, xo + i * xs, in, i, count, values, to);
            }
            return;
        }
        for (int d = 0; d < in; d++) {
            int at = to + ROWS * d;
            values[at] = x[xo + d];
            values[at + 1] = x[xo + xs + d];
            values[at + 2] = x[xo + 2 * xs + d];
            values[at + 3] = x[xo + 3 * xs + d];
        }
    }

    /** Puts row {@code i} of {@code count} into the tiles that begin at {@code at}; the last one fills up its tile. */
    static void put(float[] x, int xo, int width, int i, int count, float[] tiles, int at) {
        int to = at + i / ROWS * ROWS * width + i % ROWS;
        for (int d = 0; d < width; d++) {
            tiles[to + ROWS * d] = x[xo + d];
        }
        for (int none = i % ROWS + 1; i == count - 1 && none < ROWS; none++) {
            for (int d = 0; d < width; d++) {
                tiles[to - i % ROWS + none + ROWS * d] = 0;
            }
        }
    }
}
