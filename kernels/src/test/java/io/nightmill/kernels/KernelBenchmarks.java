package io.nightmill.kernels;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** Operations in which steps spend their time, on all cores; BENCHMARKS.md has the command. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class KernelBenchmarks {
    private static final int THREADS = Runtime.getRuntime().availableProcessors();

    private static Tensor rows(Backend backend, int rows, int width) {
        Random random = new Random(1);
        float[] values = new float[rows * width];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextFloat() - 0.5f;
        }
        Tensor tensor = new Tensor(backend.allocate(values.length), 0, rows, width);
        backend.upload(tensor, values);
        return tensor;
    }

    /** Rows of 2,048 values and a weight {@code [8192, 2048]}. */
    @State(Scope.Benchmark)
    public static class ProductState {
        private static final int IN = 2048;
        private static final int OUT = 8192;

        @Param({"1", "32", "512"})
        public int rows;

        @Param({"EXACT F32", "EXACT BF16", "EXACT Q4_K", "BF16 BF16", "INT8 BF16", "INT4 BF16"})
        public String arithmetic = "";

        private HostBackend backend = new HostBackend(1);
        private Matrix weight = Matrix.of(1, 1, new float[1]);
        private Tensor in = rows(backend, 1, 1);
        private Tensor out = rows(backend, 1, 1);

        @Setup
        public void setUp() {
            String[] parts = arithmetic.split(" ");
            Format format = Format.valueOf(parts[1]);
            backend = HostBackend.of(Products.valueOf(parts[0]), THREADS);
            ByteBuffer bytes = ByteBuffer.allocateDirect((int) (OUT * format.rowBytes(IN)));
            weight = Matrix.of(format, OUT, IN, bytes);
            in = rows(backend, rows, IN);
            out = rows(backend, rows, OUT);
        }

        @TearDown
        public void tearDown() {
            backend.close();
        }
    }

    @Benchmark
    public void product(ProductState s) {
        s.backend.matmul(s.out, 0, s.in, s.weight, null);
    }

    /** Sequences that decode behind 1,024 tokens each, with 16 heads of 64 that share 8 key heads. */
    @State(Scope.Benchmark)
    public static class AttentionState {
        private static final int HEADS = 16;
        private static final int KEY_HEADS = 8;
        private static final int DIM = 64;
        private static final int CONTEXT = 1024;

        @Param({"1", "32"})
        public int rows;

        @Param({"F32", "BF16", "INT8"})
        public KvType type = KvType.F32;

        private final HostBackend backend = new HostBackend(THREADS);
        private final Attention attention = new Attention(HEADS, KEY_HEADS, DIM, DIM, 0.125f, 0, 0, null);
        private io.nightmill.tensor.State keys = state(Role.KEYS, 1);
        private io.nightmill.tensor.State values = state(Role.VALUES, 1);
        private Tensor query = rows(backend, 1, 1);
        private Tensor out = rows(backend, 1, 1);
        private Batch batch = new Batch(new int[0], List.of());

        private io.nightmill.tensor.State state(Role role, int count) {
            return backend.allocate(new Paged(role, KEY_HEADS, DIM), count * CONTEXT, type);
        }

        private Batch batch(int count) {
            int pages = CONTEXT / Batch.PAGE_TOKENS;
            List<Batch.Span> spans = IntStream.range(0, rows)
                    .mapToObj(row -> new Batch.Span(
                            row * count,
                            count,
                            CONTEXT - count,
                            CONTEXT,
                            IntStream.range(row * pages, (row + 1) * pages).toArray(),
                            -1))
                    .toList();
            return new Batch(new int[rows * count], spans);
        }

        @Setup
        public void setUp() {
            keys = state(Role.KEYS, rows);
            values = state(Role.VALUES, rows);
            Batch prompts = batch(CONTEXT);
            Tensor written = rows(backend, rows * CONTEXT, KEY_HEADS * DIM);
            backend.append(keys, written, prompts);
            backend.append(values, written, prompts);
            batch = batch(1);
            query = rows(backend, rows, HEADS * DIM);
            out = rows(backend, rows, HEADS * DIM);
        }

        @TearDown
        public void tearDown() {
            backend.close();
        }
    }

    @Benchmark
    public void attention(AttentionState s) {
        s.backend.attend(s.out, s.query, s.keys, s.values, s.attention, s.batch);
    }

    /** 512 rows of 2,048 values. */
    @State(Scope.Benchmark)
    public static class ActivationState {
        @Param({"SILU", "GELU_TANH", "SOFTPLUS", "EXP"})
        public Activation activation = Activation.SILU;

        private final HostBackend backend = new HostBackend(THREADS);
        private final Tensor in = rows(backend, 512, 2048);
        private final Tensor out = rows(backend, 512, 2048);

        @TearDown
        public void tearDown() {
            backend.close();
        }
    }

    @Benchmark
    public void activate(ActivationState s) {
        s.backend.activate(s.out, s.in, s.activation);
    }
}
