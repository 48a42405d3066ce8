package io.nightmill.runtime;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Products;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.runtime.DeviceSpec.Kind;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Precision;
import java.nio.ByteBuffer;
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
    private static final Map<String, KernelSpeed> MEASURED = new ConcurrentHashMap<>();
    private static final int IN = 1024;
    private static final int OUT = 8192;
    private static final int ROWS = 128;
    private static final long WINDOW_NANOS = 100_000_000L;
    /** Windows without a better time, after which there is none to come. */
    private static final int WINDOWS = 3;

    private static final long MOST_NANOS = 3_000_000_000L;

    /** Measured once per JVM and kind of kernels. A device that this machine lacks is taken to be like its CPU. */
    public static KernelSpeed of(DeviceSpec device, Precision precision, int threads) {
        int devices = device.kind() == Kind.OPENCL ? OpenClDevice.list().size() : 0;
        boolean onDevice = devices > 0 && device.index() < devices;
        Products arithmetic = precision.products();
        Format format = arithmetic == Products.EXACT ? Format.F32 : Format.BF16;
        return MEASURED.computeIfAbsent((onDevice ? "opencl " : "") + arithmetic, key -> {
            if (onDevice) {
                // Not while this JVM's runtime starts on the device, nor the other way round: the figures would be
                // half, and PoCL loses files where two threads compile.
                synchronized (ExecutorRuntime.class) {
                    int index = Devices.index(device, List.of());
                    return measure(new GpuBackend(OpenClDevice.open(index), arithmetic), format);
                }
            }
            return measure(ExecutorRuntime.backend(precision, threads), format);
        });
    }

    private static KernelSpeed measure(Backend on, Format format) {
        try (on) {
            ByteBuffer weights = ByteBuffer.allocateDirect((int) (OUT * format.rowBytes(IN)));
            Matrix matrix = new Matrix(format, OUT, IN, List.of(weights), OUT, null);
            Tensor x = new Tensor(on.allocate((long) ROWS * IN), 0, ROWS, IN);
            Tensor out = new Tensor(on.allocate((long) ROWS * OUT), 0, ROWS, OUT);
            double many = seconds(on, out, x, matrix);
            double one = seconds(on, out.rows(0, 1), x.rows(0, 1), matrix);
            return new KernelSpeed(2.0 * ROWS * IN * OUT / many, weights.capacity() / one);
        }
    }

    private static double seconds(Backend on, Tensor out, Tensor x, Matrix matrix) {
        float[] last = new float[1];
        Tensor end = new Tensor(out.buffer(), 0, 1, 1);
        return seconds(() -> {
            on.matmul(out, 0, x, matrix, null);
            // A device has finished once it answers.
            on.download(end, last);
        });
    }

    /** The best of them, once it has stopped to become better: kernels are compiled meanwhile, and Spark starts. */
    private static double seconds(Runnable body) {
        long end = System.nanoTime() + MOST_NANOS;
        double best = Double.MAX_VALUE;
        int same = 0;
        while (same < WINDOWS && System.nanoTime() < end) {
            double before = best;
            for (long window = System.nanoTime() + WINDOW_NANOS; System.nanoTime() < window; ) {
                long start = System.nanoTime();
                body.run();
                best = Math.min(best, (System.nanoTime() - start) / 1e9);
            }
            same = best < 0.95 * before ? 0 : same + 1;
        }
        return best;
    }
}
