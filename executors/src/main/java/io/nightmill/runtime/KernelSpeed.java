package io.nightmill.runtime;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Products;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.runtime.DeviceSpec.Kind;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
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
    private static final long WARM_NANOS = 150_000_000L;
    private static final int ROUNDS = 15;

    /** Measured once per JVM and kind of kernels. A device that this machine lacks is taken to be like its CPU. */
    public static KernelSpeed of(ModelSpec spec) {
        int devices = spec.device().kind() == Kind.OPENCL ? OpenClDevice.list().size() : 0;
        boolean onDevice = devices > 0 && spec.device().index() < devices;
        Products arithmetic = spec.precision().products();
        Format format = arithmetic == Products.EXACT ? Format.F32 : Format.BF16;
        return MEASURED.computeIfAbsent((onDevice ? "opencl " : "") + arithmetic, key -> {
            if (onDevice) {
                // Not while this JVM's runtime starts on the device, nor the other way round: the figures would be
                // half, and PoCL loses
                // files where two threads compile.
                synchronized (ExecutorRuntime.class) {
                    int index = Devices.index(spec.device(), List.of());
                    return measure(new GpuBackend(OpenClDevice.open(index), arithmetic), format);
                }
            }
            return measure(ExecutorRuntime.backend(spec.precision(), spec.threads()), format);
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

    private static double seconds(Runnable body) {
        for (long end = System.nanoTime() + WARM_NANOS; System.nanoTime() < end; ) {
            body.run();
        }
        // The best of them: Spark starts meanwhile.
        double best = Double.MAX_VALUE;
        for (int i = 0; i < ROUNDS; i++) {
            long start = System.nanoTime();
            body.run();
            best = Math.min(best, (System.nanoTime() - start) / 1e9);
        }
        return best;
    }
}
