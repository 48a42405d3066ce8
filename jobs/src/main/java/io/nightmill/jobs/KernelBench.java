package io.nightmill.jobs;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.FastWeights;
import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Recurrence.Decay;
import io.nightmill.kernels.Recurrence.Rule;
import io.nightmill.kernels.Update;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Precision;
import io.nightmill.weights.SyntheticWeights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * Each kernel's share of what the machine can do: of arithmetic where it reads a prompt, of memory bandwidth where every
 * sequence takes one step. Operations are those that the kernel's formula asks for, a multiply-add counting two; bytes are
 * what has to be read and written once.
 */
final class KernelBench {
    private static final int PROMPT = 512;
    private static final int ROWS = 256;
    private static final int HEADS = 16;
    private static final int DIM = 64;
    private static final int WIDTH = HEADS * DIM;
    private static final int ROUNDS = 15;
    /** Until then the JVM compiles. */
    private static final long WARM_NANOS = 2_000_000_000L;

    private final BenchJob.Machine machine;
    private final HostBackend backend;
    private final Random random = new Random(1);

    /** A prompt of one sequence, and a step of many. */
    private final Batch prompt =
            new Batch(new int[PROMPT], List.of(new Batch.Span(0, PROMPT, PROMPT, 2 * PROMPT, new int[0], 0)));

    private final Batch step;

    KernelBench(BenchJob.Machine machine) {
        this.machine = machine;
        this.backend = ExecutorRuntime.backend(Precision.F32, machine.threads());
        List<Batch.Span> spans = new ArrayList<>();
        for (int i = 0; i < ROWS; i++) {
            // At different places of a chunk, as rows that run together are.
            spans.add(new Batch.Span(i, 1, 64 + i % 16, 65 + i % 16, new int[0], i));
        }
        this.step = new Batch(new int[ROWS], spans);
    }

    void run() {
        System.out.println();
        System.out.println("| kernel | work | ms | GFLOP/s | of peak | GB/s | of bandwidth |");
        System.out.println("|---|---|---|---|---|---|---|");
        products();
        attention();
        for (Rule rule : List.of(Rule.ADD, Rule.DELTA)) {
            recurrence(Decay.HEAD, rule);
            recurrence(Decay.KEY, rule);
        }
        recurrence(Decay.KEY, Rule.LOW_RANK);
        selectiveScan();
        others();
        pointwise();
    }

    private Tensor rows(int rows, int width) {
        float[] values = new float[rows * width];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextFloat() * 0.2 + 0.01);
        }
        Tensor tensor = new Tensor(backend.allocate(values.length), 0, rows, width);
        backend.upload(tensor, values);
        return tensor;
    }

    /** Factors near 1, as decays are. */
    private Tensor factors(int rows, int width) {
        Tensor tensor = rows(rows, width);
        backend.scale(tensor, tensor, -1);
        backend.activate(tensor, tensor, Activation.EXP);
        return tensor;
    }

    private State state(int rows, int width) {
        return backend.allocate(new State.Spec.Fixed(width), rows, KvType.F32);
    }

    private void report(String kernel, String work, double flops, double bytes, Runnable body) {
        long warm = System.nanoTime() + WARM_NANOS;
        while (System.nanoTime() < warm) {
            body.run();
        }
        double[] seconds = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            long start = System.nanoTime();
            body.run();
            seconds[i] = (System.nanoTime() - start) / 1e9;
        }
        Arrays.sort(seconds);
        double median = seconds[ROUNDS / 2];
        System.out.printf(
                Locale.ROOT,
                "| %s | %s | %.2f | %.1f | %.0f%% | %.1f | %.0f%% |%n",
                kernel,
                work,
                median * 1e3,
                flops / median / 1e9,
                100 * flops / median / machine.flops(),
                bytes / median / 1e9,
                100 * bytes / median / machine.bandwidth());
    }

    private void products() {
        SyntheticWeights weights = new SyntheticWeights(backend, Format.BF16, Pattern.compile(""));
        Matrix square = weights.matrix("square", WIDTH, WIDTH);
        Matrix tall = weights.matrix("tall", 32 * WIDTH, WIDTH);
        Tensor x = rows(PROMPT, WIDTH);
        Tensor y = rows(PROMPT, WIDTH);
        Tensor one = rows(1, 32 * WIDTH);
        double values = (double) WIDTH * WIDTH;
        report(
                "product, bf16 weights",
                "512 rows, 1024 x 1024",
                2 * PROMPT * values,
                2 * values + 8.0 * PROMPT * WIDTH,
                () -> backend.matmul(y, 0, x, square, null));
        report("product, bf16 weights", "1 row, 1024 x 32768", 64 * values, 64 * values, () -> {
            backend.matmul(one, 0, x.rows(0, 1), tall, null);
        });
    }

    private void attention() {
        int context = 4096;
        int kvHeads = 4;
        int[] pages = IntStream.range(0, (context + PROMPT) / 16).toArray();
        Attention attention = new Attention(HEADS, kvHeads, DIM, DIM, 0.125f, 0, 0, null);
        State keys = backend.allocate(new Paged(Role.KEYS, kvHeads, DIM), context + PROMPT, KvType.F32);
        State values = backend.allocate(new Paged(Role.VALUES, kvHeads, DIM), context + PROMPT, KvType.F32);
        write(backend, keys, pages);
        write(backend, values, pages);
        Tensor q = rows(PROMPT, WIDTH);
        Tensor out = rows(PROMPT, WIDTH);
        Batch reading =
                new Batch(new int[PROMPT], List.of(new Batch.Span(0, PROMPT, context, context + PROMPT, pages, -1)));
        double pairs = PROMPT * (context + PROMPT / 2.0);
        report("attention", "512 tokens after 4096", 4 * pairs * WIDTH, 8.0 * context * kvHeads * DIM, () -> {
            backend.attend(out, q, keys, values, attention, reading);
        });
        List<Batch.Span> spans = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            // Every row reads the same pages; those of one layer are larger than the caches near a core.
            spans.add(new Batch.Span(i, 1, context - 1, context, pages, -1));
        }
        Batch decoding = new Batch(new int[8], spans);
        double read = 8.0 * context;
        report("attention", "step of 8 rows at 4096", 4 * read * WIDTH, 8 * read * kvHeads * DIM, () -> {
            backend.attend(out.rows(0, 8), q.rows(0, 8), keys, values, attention, decoding);
        });
    }

    /** Writes a token to each page, since pages that nobody has written have no memory. */
    static void write(Backend backend, State state, int[] pages) {
        int width = state.spec().width();
        Tensor rows = new Tensor(backend.allocate((long) pages.length * width), 0, pages.length, width);
        List<Batch.Span> spans = IntStream.range(0, pages.length)
                .mapToObj(i -> new Batch.Span(i, 1, i * Batch.PAGE_TOKENS, i * Batch.PAGE_TOKENS + 1, pages, -1))
                .toList();
        backend.append(state, rows, new Batch(new int[pages.length], spans));
    }

    private void recurrence(Decay decay, Rule rule) {
        Recurrence r = Recurrence.of(HEADS, DIM, DIM, decay, rule, 1);
        String name = "recurrence, " + rule + ", decay per " + decay;
        int decays = decay == Decay.HEAD ? HEADS : WIDTH;
        for (Batch batch : List.of(prompt, step)) {
            int n = batch.size();
            boolean lowRank = rule == Rule.LOW_RANK;
            Update update = new Update(
                    rows(n, WIDTH),
                    rows(n, WIDTH),
                    rows(n, WIDTH),
                    factors(n, decays),
                    rule == Rule.DELTA ? rows(n, HEADS) : null,
                    lowRank ? rows(n, WIDTH) : null,
                    lowRank ? rows(n, WIDTH) : null,
                    null);
            Tensor out = rows(n, WIDTH);
            State state = state(batch.spans().size(), r.stateWidth());
            // Step by step: S decays, takes a write and is read; a delta or low-rank rule reads it once more.
            double perToken = HEADS * DIM * DIM * (rule == Rule.ADD ? 5.0 : 7.0);
            double matrices = 4.0 * batch.spans().size() * HEADS * DIM * DIM;
            String work = n == PROMPT ? "512 tokens" : "step of 256 rows";
            report(name, work, n * perToken, matrices, () -> backend.recur(out, update, r, state, batch));
        }
    }

    private void selectiveScan() {
        int states = 16;
        Tensor rates = rows(states, WIDTH);
        backend.scale(rates, rates, -1);
        for (Batch batch : List.of(prompt, step)) {
            int n = batch.size();
            Tensor x = rows(n, WIDTH);
            Tensor dt = rows(n, WIDTH);
            Tensor b = rows(n, states);
            Tensor c = rows(n, states);
            Tensor out = rows(n, WIDTH);
            State state = state(batch.spans().size(), states * WIDTH);
            double bytes = 8.0 * batch.spans().size() * states * WIDTH;
            String work = n == PROMPT ? "512 tokens" : "step of 256 rows";
            // One exponential per state, counted as one operation, and six more.
            report("selective scan", work, 7.0 * n * states * WIDTH, bytes, () -> {
                backend.selectiveScan(out, x, dt, rates, b, c, state, batch);
            });
        }
    }

    /** The rarer recurrences, on a prompt. */
    private void others() {
        int levels = 12;
        Recurrence r = Recurrence.of(HEADS, DIM, DIM, Decay.HEAD, Rule.ADD, 1);
        Update update = Update.delta(
                rows(PROMPT, WIDTH),
                rows(PROMPT, WIDTH),
                rows(PROMPT, WIDTH),
                factors(PROMPT, HEADS),
                rows(PROMPT, HEADS));
        Tensor out = rows(PROMPT, WIDTH);
        Tensor weights = rows(PROMPT, HEADS * levels);
        State byLevel = state(1, HEADS * levels * DIM * DIM);
        double matrix = (double) PROMPT * HEADS * DIM * DIM;
        // On average half of the ten levels below 1024 hold something and are decayed and read; one is written.
        report("recurrence by level", "512 tokens", 16 * matrix, 0, () -> {
            backend.recurByLevel(out, update, weights, r, byLevel, prompt);
        });
        Tensor ridge = rows(HEADS, DIM);
        State moments = state(1, HEADS * 2 * DIM * DIM);
        report("ridge regression", "512 tokens", matrix * (10 + DIM / 3.0), 0, () -> {
            backend.regress(out, update, ridge, moments, prompt);
        });
        float[] rates = new float[16];
        Arrays.fill(rates, 1 / 16f);
        FastWeights model = new FastWeights(
                HEADS, DIM, 0, rates, rows(HEADS, DIM * DIM + DIM), rows(HEADS, DIM), rows(HEADS, DIM), 1e-6f);
        State fast = state(1, model.stateWidth());
        Tensor rate = rows(PROMPT, HEADS);
        report("test-time training, linear", "512 tokens", 6 * matrix, 0, () -> {
            backend.trainAndRead(out, update.query(), update.key(), update.value(), rate, model, fast, prompt);
        });
    }

    private void pointwise() {
        Tensor x = rows(PROMPT, 4 * WIDTH);
        Tensor y = rows(PROMPT, 4 * WIDTH);
        Tensor filter = rows(4 * WIDTH, 4);
        Tensor weight = rows(1, 4 * WIDTH);
        State tail = state(1, 3 * 4 * WIDTH);
        double values = 4.0 * PROMPT * WIDTH;
        report("short convolution, 4 taps", "512 x 4096", 8 * values, 8 * values, () -> {
            backend.causalConv(y, x, filter, null, tail, prompt);
        });
        report("RMS norm", "512 x 4096", 4 * values, 8 * values, () -> backend.rmsNorm(y, x, weight, 1e-6f));
        report("SiLU", "512 x 4096", 4 * values, 8 * values, () -> backend.activate(y, x, Activation.SILU));
        report("gated SiLU", "512 x 2048", 5 * values / 2, 6 * values, () -> {
            backend.glu(new Tensor(y.buffer(), 0, PROMPT, 2 * WIDTH), x, Backend.Glu.of(Activation.SILU));
        });
        report("add", "512 x 4096", 2 * values, 12 * values, () -> backend.add(y, y, x, 1));
    }
}
