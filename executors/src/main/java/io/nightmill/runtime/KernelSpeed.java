package io.nightmill.runtime;

import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.Products;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Precision;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What the products of this machine's kernels reach, tried for a moment: the measure of a plan's predictions.
 *
 * @param flops per second, of many rows
 * @param bytesPerSecond of weights, of one row
 */
public record KernelSpeed(double flops, double bytesPerSecond) {
    private static final Map<Precision, KernelSpeed> MEASURED = new ConcurrentHashMap<>();
    private static final int IN = 1024;
    private static final int OUT = 8192;
    private static final int ROWS = 128;
    private static final long WARM_NANOS = 150_000_000L;
    private static final int ROUNDS = 5;

    /** Measured once per JVM and precision. */
    public static KernelSpeed of(Precision precision, int threads) {
        return MEASURED.computeIfAbsent(precision, key -> measure(key, threads));
    }

    private static KernelSpeed measure(Precision precision, int threads) {
        int all = threads > 0 ? threads : Runtime.getRuntime().availableProcessors();
        Format format = precision.products() == Products.EXACT ? Format.F32 : Format.BF16;
        try (HostBackend backend = ExecutorRuntime.backend(precision, all)) {
            ByteBuffer weights = ByteBuffer.allocateDirect((int) (OUT * format.rowBytes(IN)));
            Matrix matrix = new Matrix(format, OUT, IN, List.of(weights), OUT, null);
            Tensor x = new Tensor(backend.allocate((long) ROWS * IN), 0, ROWS, IN);
            Tensor out = new Tensor(backend.allocate((long) ROWS * OUT), 0, ROWS, OUT);
            double many = seconds(() -> backend.matmul(out, 0, x, matrix, null));
            double one = seconds(() -> backend.matmul(out.rows(0, 1), 0, x.rows(0, 1), matrix, null));
            return new KernelSpeed(2.0 * ROWS * IN * OUT / many, weights.capacity() / one);
        }
    }

    private static double seconds(Runnable body) {
        for (long end = System.nanoTime() + WARM_NANOS; System.nanoTime() < end; ) {
            body.run();
        }
        double[] took = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            long start = System.nanoTime();
            body.run();
            took[i] = (System.nanoTime() - start) / 1e9;
        }
        Arrays.sort(took);
        return took[ROUNDS / 2];
    }
}
