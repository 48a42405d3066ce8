package io.nightmill.kernels;

import io.nightmill.kernels.Panel.Layout;
import org.jspecify.annotations.Nullable;

/**
 * Rows by weights in {@link Panel}s. A few rows meet the weights as they are stored, each by itself; more meet them widened to
 * float32, in a core's caches. An output is one chain of multiply-adds in the order of its inputs either way.
 */
final class PanelProducts {
    /** From so many rows on it pays to widen a panel once for all of them: of floats, and of values with factors. */
    private static final int MANY = 8;

    private static final int MANY_GROUPED = 3;
    /** From so many rows on a tile of four is faster than each by itself. */
    private static final int TILED = 2;
    /** Up to so many tiles meet a panel as it is stored, where the lanes have that. */
    private static final int FEW_TILES = 2;

    private static final int BLOCKS = Panel.COLUMNS / 16;

    /**
     * Rows of activations as one operand of a product.
     *
     * @param tiles the same rows in tiles from {@code tilesAt} on, or null
     */
    record Rows(float[] values, int offset, int stride, int count, float @Nullable [] tiles, int tilesAt) {}

    /** A thread's own. */
    private static final class Scratch {
        private float[] wide = new float[0];
        private float[] results = new float[0];
        private float[] factors = new float[0];
        /** Results of a tile that is not full. */
        private final float[] last = new float[RowTiles.ROWS * Panel.COLUMNS];

        private final float[][] blocks = new float[BLOCKS][];
        private final int[] places = new int[BLOCKS];
    }

    private final Lanes lanes;
    private final ThreadLocal<Scratch> scratch = ThreadLocal.withInitial(Scratch::new);

    PanelProducts(Lanes lanes) {
        this.lanes = lanes;
    }

    /** Outputs {@code first .. last} of {@code x w^T}, whole panels but for the last. */
    void multiply(Rows x, Panel[] panels, int first, int last, float[] out, int oo, int os) {
        for (int column = first; column < last; column += Panel.COLUMNS) {
            multiply(x, panels[column / Panel.COLUMNS], out, oo + column, os, Math.min(Panel.COLUMNS, last - column));
        }
    }

    /** A panel's outputs, of which the first {@code n} are there. */
    private void multiply(Rows x, Panel panel, float[] out, int oo, int os, int n) {
        Scratch mine = scratch.get();
        if (!lanes.tiles()) {
            // With vectors of 256 bits, whose kernels have more operations between lines, memory keeps up by itself.
            Ahead.read(panel.bytes(), 0, Math.min(panel.bytes().capacity(), Ahead.SECOND_CACHE));
        }
        mine.factors = panel.factors(mine.factors);
        boolean whole = n == Panel.COLUMNS;
        mine.results = HostBuffer.atLeast(mine.results, whole ? 0 : x.count * Panel.COLUMNS);
        float[] all = whole ? out : mine.results;
        int to = whole ? oo : 0;
        int stride = whole ? os : Panel.COLUMNS;
        if (x.tiles != null && x.count >= TILED) {
            tiles(x, x.tiles, panel, mine, all, to, stride);
        } else if (x.count < (panel.layout().grouped() ? MANY_GROUPED : MANY)) {
            for (int i = 0; i < x.count; i++) {
                lanes.panelDots(x.values, x.offset + i * x.stride, panel, mine.factors, all, to + i * stride);
            }
        } else {
            blocks(x, panel, mine, all, to, stride);
        }
        if (panel.layout() == Layout.INTEGERS) {
            for (int i = 0; i < x.count; i++) {
                lanes.multiply(all, to + i * stride, mine.factors, 0, Panel.COLUMNS);
            }
        }
        if (!whole) {
            copy(all, Panel.COLUMNS, x.count, n, out, oo, os);
        }
    }

    private void blocks(Rows x, Panel panel, Scratch mine, float[] out, int oo, int os) {
        int size = 16 * panel.in();
        mine.wide = HostBuffer.atLeast(mine.wide, BLOCKS * size);
        float[] wide = mine.wide;
        for (int block = 0; block < BLOCKS; block++) {
            if (block % panel.layout().blocks() == 0) {
                lanes.widenBlocks(panel, block, mine.factors, wide, block * size);
            }
            mine.blocks[block] = wide;
            mine.places[block] = block * size;
        }
        lanes.blockDots(x.values, x.offset, x.stride, x.count, mine.blocks, mine.places, panel.in(), out, oo, os);
    }

    private void tiles(Rows x, float[] tiles, Panel panel, Scratch mine, float[] out, int oo, int os) {
        int in = panel.in();
        int full = x.count / RowTiles.ROWS;
        int left = x.count % RowTiles.ROWS;
        int lastTile = x.tilesAt + full * RowTiles.ROWS * in;
        int lastRow = full * RowTiles.ROWS * os;
        if (x.count <= FEW_TILES * RowTiles.ROWS && lanes.panelTiles(panel.layout())) {
            for (int t = 0; t < full; t++) {
                int row = t * RowTiles.ROWS;
                lanes.panelTile(
                        tiles, x.tilesAt + row * in, RowTiles.ROWS, panel, mine.factors, out, oo + row * os, os);
            }
            if (left > 0) {
                lanes.panelTile(tiles, lastTile, left, panel, mine.factors, mine.last, 0, Panel.COLUMNS);
                copy(mine.last, Panel.COLUMNS, left, Panel.COLUMNS, out, oo + lastRow, os);
            }
            return;
        }
        int together = panel.layout().blocks();
        mine.wide = HostBuffer.atLeast(mine.wide, together * 16 * in);
        float[] wide = mine.wide;
        for (int block = 0; block < BLOCKS; block++) {
            int to = oo + 16 * block;
            int at = block % together * 16 * in;
            if (at == 0) {
                lanes.widenBlocks(panel, block, mine.factors, wide, 0);
            }
            lanes.tileDots(tiles, x.tilesAt, full, wide, at, in, out, to, os);
            if (left > 0) {
                lanes.tileDots(tiles, lastTile, 1, wide, at, in, mine.last, 0, 16);
                copy(mine.last, 16, left, 16, out, to + lastRow, os);
            }
        }
    }

    /** Copies {@code n} columns of some rows that lie {@code stride} apart. */
    private static void copy(float[] from, int stride, int rows, int n, float[] out, int oo, int os) {
        for (int i = 0; i < rows; i++) {
            System.arraycopy(from, i * stride, out, oo + i * os, n);
        }
    }
}
