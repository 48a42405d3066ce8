package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.Backend.Draw;
import io.nightmill.kernels.Backend.Edit;
import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Picks;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every operation against the reference, at awkward sizes, with outputs that are NaN before. */
abstract class BackendSuite {
    private static final int[] SIZES = {1, 3, 4, 7, 16, 31, 33, 64, 100, 130};

    private final Backend reference = new ReferenceBackend();
    private final Random random = new Random(5);
    private Backend backend;

    abstract Backend backend();

    /** Rows of the products that are tried in every format. */
    int[] rowCounts() {
        return new int[] {1, 2, 4, 5, 9, 67};
    }

    @BeforeEach
    void open() {
        backend = backend();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    /** The same operation on both backends. */
    private interface Operation {
        void on(Backend backend, Tensor out, Tensor... in);
    }

    float[] random(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    static Tensor tensor(Backend backend, int rows, int width, float[] values) {
        Tensor tensor = new Tensor(backend.allocate(values.length + 3), 3, rows, width);
        backend.upload(tensor, values);
        return tensor;
    }

    static float[] download(Backend backend, Tensor tensor) {
        float[] values = new float[tensor.rows() * tensor.width()];
        backend.download(tensor, values);
        return values;
    }

    private void assertSame(String what, int rows, int width, Operation operation, float[][] inputs, int[] inputRows) {
        float[][] outputs = new float[2][];
        for (int which = 0; which < 2; which++) {
            Backend on = which == 0 ? reference : backend;
            float[] unset = new float[rows * width];
            Arrays.fill(unset, Float.NaN);
            Tensor out = tensor(on, rows, width, unset);
            Tensor[] in = new Tensor[inputs.length];
            for (int i = 0; i < in.length; i++) {
                in[i] = tensor(on, inputRows[i], inputs[i].length / inputRows[i], inputs[i]);
            }
            operation.on(on, out, in);
            outputs[which] = download(on, out);
        }
        assertClose(what, outputs[1], outputs[0]);
    }

    private static void assertClose(String what, float[] actual, float[] expected) {
        double scale = 0;
        for (float value : expected) {
            scale = Math.max(scale, Math.abs(value));
        }
        for (int i = 0; i < expected.length; i++) {
            assertThat(Math.abs(actual[i] - expected[i]))
                    .as("%s at %d: %s, expected %s", what, i, actual[i], expected[i])
                    .isLessThanOrEqualTo((float) (2e-6 * (1 + scale)));
        }
    }

    Matrix matrix(Format format, int out, int in) {
        ByteBuffer bytes = ByteBuffer.allocateDirect((int) (out * format.rowBytes(in)));
        byte[] values = new byte[bytes.capacity()];
        random.nextBytes(values);
        bytes.put(0, values);
        bytes.order(java.nio.ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < out * in; i++) {
            float value = (float) random.nextGaussian();
            if (format == Format.F32) {
                bytes.putFloat(4 * i, value);
            } else if (format == Format.BF16) {
                bytes.putShort(2 * i, (short) (Float.floatToRawIntBits(value) >>> 16));
            } else if (format == Format.F16) {
                bytes.putShort(2 * i, (short) (random.nextInt(1 << 15) % 0x4000 | random.nextInt(2) << 15));
            }
        }
        if (format.blockValues() > 1) {
            tameScales(format, bytes);
        }
        return Matrix.of(format, out, in, bytes);
    }

    /** Random bytes make wild half-precision scales; these are set to 2^-8 or so wherever a block has them. */
    private static void tameScales(Format format, ByteBuffer bytes) {
        int[] places =
                switch (format) {
                    case Q4_1, Q5_1, Q4_K, Q5_K -> new int[] {0, 2};
                    case Q2_K -> new int[] {80, 82};
                    case Q3_K -> new int[] {108};
                    case Q6_K -> new int[] {208};
                    case MXFP4 -> new int[0];
                    default -> new int[] {0};
                };
        for (int block = 0; block < bytes.capacity(); block += format.blockBytes()) {
            for (int place : places) {
                bytes.putShort(block + place, (short) (0x1c00 | bytes.get(block + place) & 0xff));
            }
            if (format == Format.MXFP4) {
                bytes.put(block, (byte) (120 + (bytes.get(block) & 7)));
            }
        }
    }

    @Test
    void matmulOfEveryFormat() {
        for (Format format : Format.values()) {
            if (format == Format.F8_E4M3) {
                continue;
            }
            for (int rows : rowCounts()) {
                for (int size : format.blockValues() > 1 ? new int[] {256, 1280} : SIZES) {
                    Matrix w = matrix(format, 37, size);
                    assertSame(
                            format + " [" + rows + ", " + size + "]",
                            rows,
                            40,
                            (on, out, in) -> {
                                on.matmul(out, 0, in[0], w, in[1]);
                                on.matmul(out, 3, in[0], w, null);
                            },
                            new float[][] {random(rows * size), random(37)},
                            new int[] {rows, 1});
                }
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"48, 16", "160, 32", "1280, 128"})
    void scaledFp8AndPanels(int in, int block) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(20 * in);
        for (int i = 0; i < bytes.capacity(); i++) {
            bytes.put(i, (byte) (random.nextInt(256) & 0xbf));
        }
        List<ByteBuffer> panels =
                List.of(bytes.slice(0, 7 * in), bytes.slice(7 * in, 7 * in), bytes.slice(14 * in, 6 * in));
        float[] factors = random(3 * ((in + block - 1) / block));
        Matrix w = new Matrix(Format.F8_E4M3, 20, in, panels, 7, new Matrix.Scales(factors, 8, block));
        for (int rows : new int[] {1, 5}) {
            assertSame(
                    "fp8",
                    rows,
                    20,
                    (on, out, x) -> on.matmul(out, 0, x[0], w, null),
                    new float[][] {random(rows * in)},
                    new int[] {rows});
        }
    }

    /** Each row to the expert that is given for it. */
    static Routes routes(Backend on, int experts, int... chosen) {
        float[] logits = new float[chosen.length * experts];
        for (int i = 0; i < chosen.length; i++) {
            logits[i * experts + chosen[i]] = 1;
        }
        return on.route(
                tensor(on, chosen.length, experts, logits),
                null,
                Router.plain(experts, 1, Router.Scoring.SOFTMAX, true));
    }

    @Test
    void groupedAndHeadProducts() {
        for (Format format : new Format[] {Format.F32, Format.BF16, Format.Q8_0}) {
            List<Matrix> experts = new ArrayList<>();
            for (int e = 0; e < 5; e++) {
                experts.add(matrix(format, 19, 64));
            }
            assertSame(
                    "grouped " + format,
                    13,
                    21,
                    (on, out, in) -> {
                        Routes routes = routes(on, 5, 0, 0, 0, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4);
                        on.matmul(in[0], routes, List.of(new Product(out, 0, experts, in[1])));
                        on.matmul(in[0], routes, List.of(new Product(out, 2, experts, null)));
                    },
                    new float[][] {random(13 * 64), random(5 * 19)},
                    new int[] {13, 5});
            assertSame(
                    "heads " + format,
                    6,
                    5 * 19,
                    (on, out, in) -> on.headMatmul(out, in[0], experts),
                    new float[][] {random(6 * 5 * 70)},
                    new int[] {6});
        }
    }

    @Test
    void rowOperations() {
        for (int n : SIZES) {
            float[][] in = {random(5 * n), random(5 * n), random(n), random(n)};
            int[] rows = {5, 5, 1, 1};
            assertSame("rmsNorm " + n, 5, n, (on, out, x) -> on.rmsNorm(out, x[0], x[2], 1e-6f), in, rows);
            assertSame("rmsNorm plain " + n, 5, n, (on, out, x) -> on.rmsNorm(out, x[0], null, 1e-6f), in, rows);
            assertSame("layerNorm " + n, 5, n, (on, out, x) -> on.layerNorm(out, x[0], x[2], x[3], 1e-5f), in, rows);
            assertSame("add " + n, 5, n, (on, out, x) -> on.add(out, x[0], x[1], 0.5f), in, rows);
            assertSame("copyColumns " + n, 5, n, (on, out, x) -> on.copyColumns(out, 0, x[0], 0, n), in, rows);
            assertSame("gather " + n, 3, n, (on, out, x) -> on.gather(out, x[0], new int[] {4, 0, 4}), in, rows);
            assertSame(
                    "clamp, softcap " + n,
                    5,
                    n,
                    (on, out, x) -> {
                        on.add(out, x[0], x[1], 3);
                        on.clamp(out, -1.5f, 2.5f);
                        on.softcap(out, 2);
                    },
                    in,
                    rows);
            for (Activation activation : Activation.values()) {
                assertSame(activation + " " + n, 5, n, (on, out, x) -> on.activate(out, x[0], activation), in, rows);
            }
            float[][] pair = {random(5 * 2 * n)};
            for (Glu glu : new Glu[] {
                Glu.of(Activation.SILU),
                new Glu(Activation.GELU_TANH, true, 0, 0),
                new Glu(Activation.SILU, true, 1, 1.702f),
                new Glu(Activation.SILU, false, 1, 1.702f)
            }) {
                assertSame(glu + " " + n, 5, n, (on, out, x) -> on.glu(out, x[0], glu), pair, new int[] {5});
            }
        }
    }

    @Test
    void rotatesHalvesAndNeighbours() {
        for (boolean interleaved : new boolean[] {false, true}) {
            assertSame(
                    "rope",
                    4,
                    3 * 24,
                    (on, out, x) -> {
                        on.add(out, x[0], x[0], 0);
                        on.rope(out, x[1], 24, 8, interleaved);
                    },
                    new float[][] {random(4 * 72), random(4 * 10)},
                    new int[] {4, 4});
        }
    }

    @Test
    void placesAndStarts() {
        Batch batch = new Batch(
                new int[11],
                List.of(
                        new Batch.Span(0, 4, 0, 4, new int[0], 0),
                        new Batch.Span(4, 6, 70_000, 70_006, new int[0], 1),
                        new Batch.Span(10, 1, 9, 10, new int[0], 2)));
        float[] frequencies = {1, 0.3f, 0.01f};
        for (int period : new int[] {0, 4}) {
            assertSame(
                    "rotary tables of period " + period,
                    11,
                    6,
                    (on, out, x) -> {
                        on.rotary(out, batch, 0, 4, frequencies, 1, period);
                        on.rotary(out, batch, 4, 11, new float[] {0.5f, 0.25f, 0.125f}, 1.5f, period);
                    },
                    new float[0][],
                    new int[0]);
        }
        assertSame("starts", 11, 1, (on, out, x) -> on.started(out, batch), new float[0][], new int[0]);
    }

    @Test
    void attendsOverPagesWithWindowsCapsAndSinks() {
        for (int keyDim : new int[] {8, 20, 64}) {
            for (int window : new int[] {0, 5, 40}) {
                for (boolean sinks : new boolean[] {false, true}) {
                    int valueDim = keyDim - 3;
                    float cap = window == 5 ? 3 : 0;
                    attends(new Attention(6, 2, keyDim, valueDim, 0.3f, window, cap, null), sinks, KvType.F32);
                    attends(new Attention(6, 2, keyDim, valueDim, 0.3f, window, 0, null, 3), sinks, KvType.BF16);
                    attends(new Attention(6, 2, keyDim, valueDim, 0.3f, window, 0, null, 18), sinks, KvType.INT8);
                }
            }
        }
    }

    @Test
    void attendsOverLatentRows() {
        for (KvType type : KvType.values()) {
            attends(new Attention(5, 1, 40, 33, 0.2f, 0, 0, null), false, type);
        }
    }

    /**
     * Five sequences: one whose query is alone, two parts of prompts, and two that share their first 80 tokens. What they saw
     * before is appended first.
     */
    final void attends(Attention a, boolean hasSinks, KvType type) {
        int[] lengths = {152, 47, 3, 95, 118};
        int[] counts = {1, 33, 3, 2, 1};
        int shared = 80;
        List<Batch.Span> before = new ArrayList<>();
        List<Batch.Span> spans = new ArrayList<>();
        int nextPage = 0;
        int pastTokens = 0;
        int newTokens = 0;
        int[] first = new int[0];
        for (int s = 0; s < lengths.length; s++) {
            int[] pages = new int[(lengths[s] + 15) / 16];
            for (int p = 0; p < pages.length; p++) {
                pages[p] = s == 4 && p < shared / 16 ? first[p] : 37 * ++nextPage % 41;
            }
            first = s == 3 ? pages : first;
            int past = lengths[s] - counts[s];
            int from = s == 4 ? shared : 0;
            before.add(new Batch.Span(pastTokens, past - from, from, lengths[s], pages, -1));
            spans.add(new Batch.Span(newTokens, counts[s], past, lengths[s], pages, -1));
            pastTokens += past - from;
            newTokens += counts[s];
        }
        Batch earlier = new Batch(new int[pastTokens], before);
        Batch now = new Batch(new int[newTokens], spans);
        boolean latent = a.kvHeads() == 1;
        Paged keySpec = new Paged(latent ? Role.BOTH : Role.KEYS, a.kvHeads(), a.keyDim());
        Paged valueSpec = new Paged(Role.VALUES, a.kvHeads(), a.valueDim());
        assertSame(
                a + " " + type,
                newTokens,
                a.heads() * a.valueDim(),
                (on, out, x) -> {
                    State keys = on.allocate(keySpec, 42 * 16, type);
                    State values = latent ? keys : on.allocate(valueSpec, 42 * 16, type);
                    on.append(keys, x[1], earlier);
                    on.append(keys, x[3], now);
                    if (!latent) {
                        on.append(values, x[2], earlier);
                        on.append(values, x[4], now);
                    }
                    on.copyRows(keys, spans.get(3).pages()[0] * 16, 41 * 16, 16);
                    Attention sinking = new Attention(
                            a.heads(),
                            a.kvHeads(),
                            a.keyDim(),
                            a.valueDim(),
                            a.scale(),
                            a.window(),
                            a.softcap(),
                            hasSinks ? x[5] : null,
                            a.lead());
                    on.attend(out, x[0], keys, values, sinking, now);
                },
                new float[][] {
                    random(newTokens * a.heads() * a.keyDim()),
                    random(pastTokens * keySpec.width()),
                    random(pastTokens * valueSpec.width()),
                    random(newTokens * keySpec.width()),
                    random(newTokens * valueSpec.width()),
                    random(a.heads())
                },
                new int[] {newTokens, pastTokens, pastTokens, newTokens, newTokens, 1});
    }

    @Test
    void bitsOfAttentionDoNotDependOnCompany() {
        for (KvType type : KvType.values()) {
            Attention a = new Attention(8, 2, 24, 16, 0.3f, 0, 0, null);
            State keys = backend.allocate(new Paged(Role.KEYS, 2, 24), 40 * 16, type);
            State values = backend.allocate(new Paged(Role.VALUES, 2, 16), 40 * 16, type);
            List<Batch.Span> spans = new ArrayList<>();
            int rows = 0;
            for (int s = 0; s < 5; s++) {
                // The first three share 64, 128 or 192 tokens; all have 205 to 209.
                int[] pages = new int[14];
                for (int p = 0; p < 14; p++) {
                    pages[p] = s < 3 && p < 4 * (3 - s) ? p : s < 4 ? 12 + 2 * s + p % 2 : 30 - p;
                }
                int count = s == 3 ? 40 : 1 + s % 2;
                spans.add(new Batch.Span(rows, count, 205 + s - count, 205 + s, pages, -1));
                rows += count;
            }
            Batch.Span all =
                    new Batch.Span(0, 40 * 16, 0, 640, IntStream.range(0, 40).toArray(), -1);
            Batch fill = new Batch(new int[640], List.of(all));
            backend.append(keys, tensor(backend, 640, 48, random(640 * 48)), fill);
            backend.append(values, tensor(backend, 640, 32, random(640 * 32)), fill);
            float[] q = random(rows * 8 * 24);
            Tensor out = tensor(backend, rows, 128, new float[rows * 128]);
            backend.attend(out, tensor(backend, rows, 192, q), keys, values, a, new Batch(new int[rows], spans));
            float[] together = download(backend, out);
            for (Batch.Span span : spans) {
                for (int i = 0; i < span.count(); i++) {
                    int row = span.first() + i;
                    Batch.Span alone = new Batch.Span(0, 1, span.past() + i, span.length(), span.pages(), -1);
                    Tensor one = tensor(backend, 1, 128, new float[128]);
                    Tensor mine = tensor(backend, 1, 192, Arrays.copyOfRange(q, row * 192, (row + 1) * 192));
                    backend.attend(one, mine, keys, values, a, new Batch(new int[1], List.of(alone)));
                    assertThat(download(backend, one))
                            .containsExactly(Arrays.copyOfRange(together, row * 128, (row + 1) * 128));
                }
            }
        }
    }

    /** Of sequences with more keys than one running sum takes. */
    @Test
    void attendsToLongContexts() {
        int length = 1400;
        int[] pages = IntStream.range(0, 88).toArray();
        List<Batch.Span> spans = List.of(
                new Batch.Span(0, 1, 1399, 1400, pages, -1),
                new Batch.Span(1, 20, 690, 710, pages, -1),
                new Batch.Span(21, 1, 40, 41, pages, -1));
        float[] k = random(length * 32);
        float[] v = random(length * 16);
        float[] q = random(22 * 64);
        float[] sink = random(4);
        for (int window : new int[] {0, 600}) {
            List<float[]> results = new ArrayList<>();
            for (Backend on : List.of(new ReferenceBackend(), backend)) {
                Attention a = new Attention(4, 2, 16, 8, 0.3f, window, 0, tensor(on, 1, 4, sink), 3);
                State keys = on.allocate(new Paged(Role.KEYS, 2, 16), 88 * 16, KvType.F32);
                State values = on.allocate(new Paged(Role.VALUES, 2, 8), 88 * 16, KvType.F32);
                Batch fill = new Batch(new int[length], List.of(new Batch.Span(0, length, 0, length, pages, -1)));
                on.append(keys, tensor(on, length, 32, k), fill);
                on.append(values, tensor(on, length, 16, v), fill);
                Tensor out = tensor(on, 22, 32, new float[22 * 32]);
                on.attend(out, tensor(on, 22, 64, q), keys, values, a, new Batch(new int[22], spans));
                float[] all = download(on, out);
                results.add(all);
                for (Batch.Span span : on == backend ? spans : List.<Batch.Span>of()) {
                    Batch.Span alone =
                            new Batch.Span(0, 1, span.past() + span.count() - 1, span.length(), span.pages(), -1);
                    int row = span.first() + span.count() - 1;
                    Tensor one = tensor(on, 1, 32, new float[32]);
                    Tensor mine = tensor(on, 1, 64, Arrays.copyOfRange(q, row * 64, (row + 1) * 64));
                    on.attend(one, mine, keys, values, a, new Batch(new int[1], List.of(alone)));
                    assertThat(download(on, one)).containsExactly(Arrays.copyOfRange(all, row * 32, (row + 1) * 32));
                }
            }
            for (int i = 0; i < results.get(0).length; i++) {
                assertThat(results.get(1)[i]).isCloseTo(results.get(0)[i], within(1e-4f));
            }
        }
    }

    @Test
    void routesAndCombines() {
        for (Router router : new Router[] {
            Router.plain(8, 3, Router.Scoring.SOFTMAX, true),
            Router.plain(8, 2, Router.Scoring.SOFTMAX_OF_CHOSEN, false),
            new Router(8, 3, Router.Scoring.SIGMOID, true, 4, 2, Router.GroupScore.SUM_OF_TOP_2, 0, 2.5f, true, 0)
        }) {
            float[] logits = random(9 * 8);
            float[] bias = random(8);
            Routes expected = reference.route(tensor(reference, 9, 8, logits), tensor(reference, 1, 8, bias), router);
            Routes actual = backend.route(tensor(backend, 9, 8, logits), tensor(backend, 1, 8, bias), router);
            assertThat(actual.experts()).containsExactly(expected.experts());
            assertClose("weights", actual.weights(), expected.weights());
            int choices = 9 * router.topK();
            assertSame(
                    "dispatch",
                    choices,
                    33,
                    (on, out, x) -> on.dispatch(out, x[1], on.route(x[0], null, router)),
                    new float[][] {logits, random(9 * 33)},
                    new int[] {9, 9});
            assertSame(
                    "combine",
                    9,
                    33,
                    (on, out, x) -> on.combine(out, x[1], on.route(x[0], null, router)),
                    new float[][] {logits, random(choices * 33)},
                    new int[] {9, choices});
            assertSame(
                    "choices",
                    1,
                    8,
                    (on, out, x) -> {
                        on.upload(out, new float[8]);
                        on.countChoices(out, on.route(x[0], null, router));
                        on.countChoices(out, on.route(x[0], x[1], router));
                    },
                    new float[][] {logits, bias},
                    new int[] {9, 1});
        }
    }

    @Test
    void picksTokens() {
        float[] logits = random(4 * 131);
        logits[2 * 131 + 7] = logits[2 * 131 + 90] = 9;
        int[] targets = {-1, 130, 90, 7};
        Picks expected = Picks.of(4);
        Picks actual = Picks.of(4);
        reference.pick(expected, tensor(reference, 4, 131, logits), targets);
        backend.pick(actual, tensor(backend, 4, 131, logits), targets);
        assertThat(actual.tokens()).containsExactly(expected.tokens());
        assertThat(actual.ranks()).containsExactly(expected.ranks());
        assertThat(actual.ranks()[2]).as("equal logits rank by id").isEqualTo(2);
        assertClose("logprobs", actual.logprobs(), expected.logprobs());
    }

    /** Logits in steps of a quarter, so that many are equal, and a row of two zeros. */
    @Test
    void samplesTokens() {
        for (int width : new int[] {2, 131, 700}) {
            float[] logits = new float[3 * width];
            for (int i = 0; i < 2 * width; i++) {
                logits[i] = Math.round(12 * random.nextGaussian()) / 4f;
            }
            logits[2 * width] = -0f;
            logits[width / 2] = Float.NEGATIVE_INFINITY;
            List<Draw> draws = new ArrayList<>();
            for (int topK : new int[] {0, 1, 5, 50, 1000}) {
                for (double topP : new double[] {1, 0.91, 0.35}) {
                    for (double minP : new double[] {0, 0.05}) {
                        int row = draws.size() % 3;
                        draws.add(new Draw(row, 0.7, topK, topP, minP, random.nextDouble()));
                    }
                }
            }
            draws.add(new Draw(0, 0, 0, 1, 0, 0.5));
            draws.add(new Draw(1, 1.5, 0, 1, 0, 0.999999));
            int[] expected = new int[draws.size()];
            int[] actual = new int[draws.size()];
            reference.sample(expected, tensor(reference, 3, width, logits), draws);
            backend.sample(actual, tensor(backend, 3, width, logits), draws);
            assertThat(actual).as("of %d", width).containsExactly(expected);
        }
    }

    @Test
    void editsLogits() {
        float[] rules = {
            0.5f,
            1,
            0,
            0, //
            0,
            1.7f,
            0,
            0, //
            -3,
            1.7f,
            0.25f,
            0.5f, //
            Float.NEGATIVE_INFINITY,
            1.2f,
            1,
            1
        };
        List<Edit> edits = List.of(
                new Edit(2, false, new int[] {0, 69, 7, 8}, rules),
                new Edit(0, true, new int[] {3, 4, 5, 6}, rules),
                new Edit(2, false, new int[0], new float[0]));
        float[] logits = random(3 * 70);
        Tensor expected = tensor(reference, 3, 70, new float[3 * 70]);
        Tensor actual = tensor(backend, 3, 70, new float[3 * 70]);
        reference.edit(expected, tensor(reference, 3, 70, logits), edits);
        backend.edit(actual, tensor(backend, 3, 70, logits), edits);
        assertThat(download(backend, actual)).containsExactly(download(reference, expected));
        backend.edit(actual.rows(0, 1), tensor(backend, 3, 70, logits), edits.subList(2, 3));
        assertThat(download(backend, actual.rows(0, 1))).containsExactly(Arrays.copyOfRange(logits, 140, 210));
    }

    @Test
    void findsTheLikeliestTokens() {
        for (int width : new int[] {5, 64, 700}) {
            float[] logits = new float[2 * width];
            for (int i = 0; i < logits.length; i++) {
                logits[i] = Math.round(12 * random.nextGaussian()) / 4f;
            }
            for (int wanted : new int[] {1, 5, Math.min(width, 70)}) {
                int[] expected = new int[wanted];
                int[] actual = new int[wanted];
                float[] expectedLogs = new float[wanted];
                float[] actualLogs = new float[wanted];
                reference.top(
                        expected,
                        expectedLogs,
                        tensor(reference, 2, width, logits).rows(1, 1));
                backend.top(
                        actual, actualLogs, tensor(backend, 2, width, logits).rows(1, 1));
                assertThat(actual).as("of %d", width).containsExactly(expected);
                assertClose("log-probabilities of " + width, actualLogs, expectedLogs);
            }
        }
    }

    @Test
    void rowBitsDoNotDependOnOtherRows() {
        for (Format format : new Format[] {Format.F32, Format.BF16, Format.Q4_K}) {
            Matrix w = matrix(format, 50, 256);
            float[] x = random(71 * 256);
            Tensor all = tensor(backend, 71, 256, x);
            Tensor many = tensor(backend, 71, 50, new float[71 * 50]);
            backend.matmul(many, 0, all, w, null);
            for (int row : new int[] {0, 3, 64, 70}) {
                Tensor one = tensor(backend, 1, 50, new float[50]);
                backend.matmul(one, 0, all.rows(row, 1), w, null);
                assertThat(download(backend, one)).containsExactly(download(backend, many.rows(row, 1)));
            }
        }
    }
}
