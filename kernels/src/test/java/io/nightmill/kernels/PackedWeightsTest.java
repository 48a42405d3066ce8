package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PackedWeightsTest {
    private static final int IN = 512;
    private final Random random = new Random(3);

    /** Random bits in blocks whose factors are no infinities. */
    private Matrix matrix(Format format, int out) {
        ByteBuffer bytes =
                ByteBuffer.allocate(Math.toIntExact(out * format.rowBytes(IN))).order(ByteOrder.LITTLE_ENDIAN);
        random.nextBytes(bytes.array());
        Matrix m = Matrix.of(format, out, IN, bytes);
        float[] row = new float[IN];
        for (int n = 0; n < out; n++) {
            while (!finite(m, n, row)) {
                byte[] fresh = new byte[m.rowBytes()];
                random.nextBytes(fresh);
                // Half of all halves are small: 0x3f takes an exponent's top bit, if it is one.
                for (int i = 0; i < fresh.length; i++) {
                    fresh[i] &= 0x3f;
                }
                bytes.put(n * m.rowBytes(), fresh);
            }
        }
        return m;
    }

    private static boolean finite(Matrix m, int n, float[] row) {
        Unpack.row(m, n, row, 0);
        for (float value : row) {
            if (!Float.isFinite(value)) {
                return false;
            }
        }
        return true;
    }

    @ParameterizedTest
    @EnumSource
    void packedWeightsAreTheStoredOnes(Format format) {
        Matrix w = matrix(format, 70);
        PackedWeights weights = new PackedWeights(Products.EXACT, Lanes.best());
        try (Workers workers = new Workers(2)) {
            weights.pack(w, workers);
        }
        Panel[] panels = weights.of(w);
        assertThat(panels).hasSize(2);
        float[] expected = new float[IN];
        float[] scalar = new float[Panel.COLUMNS * IN];
        float[] vectors = new float[Panel.COLUMNS * IN];
        for (int p = 0; p < 2; p++) {
            float[] factors = panels[p].factors(new float[0]);
            for (int block = 0; block < 4; block += panels[p].layout().blocks()) {
                int at = 16 * IN * block;
                new ScalarLanes().widenBlocks(panels[p], block, factors, scalar, at);
                VectorLanes.ifWide().orElseThrow().widenBlocks(panels[p], block, factors, vectors, at);
            }
            for (int column = 0; column < Math.min(Panel.COLUMNS, 70 - p * Panel.COLUMNS); column++) {
                Unpack.row(w, p * Panel.COLUMNS + column, expected, 0);
                for (int k = 0; k < IN; k++) {
                    int at = (column / 16 * IN + k) * 16 + column % 16;
                    String place = "output %d, input %d".formatted(p * Panel.COLUMNS + column, k);
                    // Adding nothing makes one zero of the two.
                    assertThat(scalar[at] + 0f).as(place).isEqualTo(expected[k] + 0f);
                    assertThat(vectors[at] + 0f).as(place).isEqualTo(expected[k] + 0f);
                }
            }
        }
        // Panels do not hold their memory.
        Reference.reachabilityFence(weights);
    }

    /** A row alone and among others is one chain of multiply-adds over the same weights. */
    @ParameterizedTest
    @EnumSource
    void oneRowHasTheBitsOfMany(Format format) {
        Matrix w = matrix(format, 70);
        try (HostBackend backend = new HostBackend(2)) {
            float[] many = multiply(backend, w, 9);
            float[] one = multiply(backend, w, 1);
            for (int n = 0; n < w.out(); n++) {
                assertThat(one[n]).as("output %d", n).isEqualTo(many[n]);
            }
        }
    }

    private static float[] input(int rows) {
        Random random = new Random(5);
        float[] x = new float[rows * IN];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) random.nextGaussian();
        }
        return x;
    }

    private static float[] multiply(HostBackend backend, Matrix w, int rows) {
        Tensor x = new Tensor(backend.allocate((long) rows * IN), 0, rows, IN);
        backend.upload(x, input(rows));
        Tensor out = new Tensor(backend.allocate((long) rows * w.out()), 0, rows, w.out());
        backend.matmul(out, 0, x, w, null);
        float[] values = new float[rows * w.out()];
        backend.download(out, values);
        return values;
    }

    @Test
    void infinitiesOfFloat16AreKept() {
        ByteBuffer bytes = ByteBuffer.allocate(2 * IN).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putShort(6, (short) 0xfc00);
        try (HostBackend backend = new HostBackend(1)) {
            float expected = input(1)[3] > 0 ? Float.NEGATIVE_INFINITY : Float.POSITIVE_INFINITY;
            assertThat(multiply(backend, Matrix.of(Format.F16, 1, IN, bytes), 1))
                    .containsExactly(expected);
        }
    }

    /** Normal weights keep a signal 21 dB above the error, and more than with steps of an eighth of the largest. */
    @Test
    void fourBitsAreAsNearAsFourBitsCanBe() {
        int out = 300;
        float[] values = new float[out * IN];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        Matrix w = Matrix.of(out, IN, values);
        PackedWeights weights = new PackedWeights(Products.INT4, Lanes.best());
        try (Workers workers = new Workers(1)) {
            weights.pack(w, workers);
        }
        double error = 0;
        double plain = 0;
        double signal = 0;
        for (int n = 0; n < out; n++) {
            for (int from = 0; from < IN; from += 32) {
                float largest = 0;
                for (int k = from; k < from + 32; k++) {
                    float v = values[n * IN + k];
                    largest = Math.abs(v) > Math.abs(largest) ? v : largest;
                }
                for (int k = from; k < from + 32; k++) {
                    float v = values[n * IN + k];
                    float step = largest / -8;
                    double rounded = step * Math.max(-8, Math.min(7, Math.rint(v / step)));
                    float packed = weights.of(w)[n / 64].value(n % 64, k);
                    plain += (v - rounded) * (v - rounded);
                    error += (double) (v - packed) * (v - packed);
                    signal += (double) v * v;
                }
            }
        }
        assertThat(10 * Math.log10(signal / error)).isGreaterThan(21.5);
        assertThat(10 * Math.log10(plain / error)).isGreaterThan(0.4);
        try (HostBackend backend = new HostBackend(2, Lanes.best(), Products.INT4)) {
            assertThat(backend.name()).endsWith("+int4");
            float[] y = multiply(backend, w, 5);
            float[] x = input(5);
            for (int i = 0; i < 5; i++) {
                for (int n = 0; n < out; n++) {
                    double sum = 0;
                    for (int k = 0; k < IN; k++) {
                        sum += (double) x[i * IN + k] * weights.of(w)[n / 64].value(n % 64, k);
                    }
                    assertThat((double) y[i * out + n]).isCloseTo(sum, offset(1e-4));
                }
            }
        }
        Reference.reachabilityFence(weights);
    }

    private Matrix gaussian(int out, int in) {
        float[] values = new float[out * in];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Matrix.of(out, in, values);
    }

    private static Panel[] pack(PackedWeights weights, Matrix w) {
        try (Workers workers = new Workers(2)) {
            weights.pack(w, workers);
        }
        return weights.of(w);
    }

    @Test
    void largeWeightsAreRoundedToWhatWasAsked() {
        Matrix w = gaussian(150, IN);
        float[] row = new float[IN];
        PackedWeights halves = new PackedWeights(Products.BF16, Lanes.best());
        PackedWeights bytes = new PackedWeights(Products.INT8, Lanes.best());
        Panel[] pairs = pack(halves, w);
        Panel[] integers = pack(bytes, w);
        for (int n = 0; n < w.out(); n++) {
            Unpack.row(w, n, row, 0);
            float step = Unpack.byteFactor(row, 0, IN);
            for (int k = 0; k < IN; k++) {
                assertThat(pairs[n / 64].value(n % 64, k)).isEqualTo(Unpack.bf16(Unpack.toBf16(row[k])));
                assertThat(integers[n / 64].value(n % 64, k)).isCloseTo(row[k], offset(0.501f * step));
            }
        }
        assertThat(pairs[0].bytes().capacity()).isEqualTo(64 * IN * 2);
        assertThat(integers[0].bytes().capacity()).isEqualTo(64 * IN + 4 * 64);
        Reference.reachabilityFence(halves);
        Reference.reachabilityFence(bytes);
    }

    @Test
    void whatIsSmallOrTakesNoMoreStaysAsItIs() {
        for (Products rounding : Products.values()) {
            PackedWeights weights = new PackedWeights(rounding, Lanes.best());
            assertThat(pack(weights, gaussian(64, IN))[0].layout()).isEqualTo(Panel.Layout.FLOATS);
            if (rounding != Products.INT4) {
                assertThat(pack(weights, matrix(Format.Q8_0, 150))[0].layout()).isEqualTo(Panel.Layout.BYTES);
                assertThat(pack(weights, matrix(Format.Q4_K, 150))[0].layout()).isEqualTo(Panel.Layout.NIBBLES);
            }
        }
        PackedWeights halves = new PackedWeights(Products.BF16, Lanes.best());
        assertThat(pack(halves, matrix(Format.F16, 150))[0].layout()).isEqualTo(Panel.Layout.HALVES);
    }

    /** Rows in any number, of a group or alone, are one chain of multiply-adds over the rounded weights. */
    @ParameterizedTest
    @EnumSource
    void roundedProductsHaveTheBitsOfOneRow(Products products) {
        Matrix w = gaussian(150, IN);
        PackedWeights weights = new PackedWeights(products, Lanes.best());
        Panel[] panels = pack(weights, w);
        float[] x = input(11);
        try (HostBackend backend = new HostBackend(2, Lanes.best(), products)) {
            float[] one = multiply(backend, w, 1);
            for (int rows : new int[] {2, 3, 4, 7, 11}) {
                float[] some = multiply(backend, w, rows);
                assertThat(Arrays.mismatch(Arrays.copyOf(some, w.out()), one)).isEqualTo(-1);
                for (int i = 0; i < some.length; i++) {
                    int n = i % w.out();
                    double sum = 0;
                    for (int k = 0; k < IN; k++) {
                        sum += (double) x[i / w.out() * IN + k] * panels[n / 64].value(n % 64, k);
                    }
                    assertThat((double) some[i]).isCloseTo(sum, offset(2e-4));
                }
            }
        }
        Reference.reachabilityFence(weights);
    }

    @Test
    void rowsInTilesAddLikeTheirDefinition() {
        int k = 77;
        float[] x = new float[3 * RowTiles.ROWS * k + 5];
        float[] w = new float[16 * k + 2];
        for (float[] values : new float[][] {x, w}) {
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
        }
        float[] expected = new float[12 * 20];
        float[] actual = new float[12 * 20];
        new ScalarLanes().tileDots(x, 5, 3, w, 2, k, expected, 1, 20);
        VectorLanes.ifWide().orElseThrow().tileDots(x, 5, 3, w, 2, k, actual, 1, 20);
        assertThat(actual).containsExactly(expected, offset(1e-4f));
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "INT8", "INT4"})
    void aTileByAPanelAddsLikeItsDefinition(Products products) {
        Lanes lanes = VectorLanes.ifWide().orElseThrow();
        PackedWeights weights = new PackedWeights(products, lanes);
        Panel panel = pack(weights, gaussian(128, IN))[1];
        assumeTrue(lanes.panelTiles(panel.layout()), lanes.name() + " has none");
        float[] x = input(RowTiles.ROWS + 1);
        float[] factors = panel.factors(new float[0]);
        for (int rows = 1; rows <= RowTiles.ROWS; rows++) {
            float[] expected = new float[rows * 70];
            float[] actual = new float[RowTiles.ROWS * 70];
            new ScalarLanes().panelTile(x, 5, rows, panel, factors, expected, 3, 70);
            lanes.panelTile(x, 5, rows, panel, factors, actual, 3, 70);
            assertThat(Arrays.copyOf(actual, rows * 70))
                    .as("%d rows", rows)
                    .containsExactly(expected, offset(products == Products.INT8 ? 2e-2f : 2e-4f));
        }
        Reference.reachabilityFence(weights);
    }

    @Test
    void tilesHoldTheRowsOfEachGroup() {
        int in = 6;
        float[] x = new float[12 * in];
        for (int i = 0; i < x.length; i++) {
            x[i] = i + 1;
        }
        int[] starts = {0, 5, 5, 9, 12};
        RowTiles tiles = new RowTiles();
        try (Workers workers = new Workers(2)) {
            tiles.lay(new float[200], 0, in, new int[] {0, 20}, in, workers);
            tiles.lay(x, 0, in, starts, in, workers);
        }
        for (int g = 0; g < 4; g++) {
            for (int row = 0; row < (starts[g + 1] - starts[g] + 3) / 4 * 4; row++) {
                for (int d = 0; d < in; d++) {
                    boolean there = starts[g] + row < starts[g + 1];
                    float expected = there ? x[(starts[g] + row) * in + d] : 0;
                    int at = tiles.place(g, row / 4 * 4) + 4 * d + row % 4;
                    assertThat(tiles.values()[at])
                            .as("group %d, row %d", g, row)
                            .isEqualTo(expected);
                }
            }
        }
    }
}
