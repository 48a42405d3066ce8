package io.nightmill.jobs;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.Products;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.runtime.DeviceSpec;
import io.nightmill.runtime.Devices;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Locale;

/** Products on an OpenCL device beside the CPU's, alternately: exact ones (the Vector API's) and rounded ones (oneDNN's). */
record DeviceBench(BenchJob.Machine machine, DeviceSpec device) {
    private static final int SIDE = 2048;
    private static final long WARM_NANOS = 700_000_000L;
    private static final int ROUNDS = 9;
    private static final int PRODUCTS = 5;

    void run() {
        OpenClDevice found = OpenClDevice.open(Devices.index(device, List.of()));
        System.out.printf("%nProducts of [rows, %d] and [%d, %d], GFLOP/s: %s%n%n", SIDE, SIDE, SIDE, found.describe());
        System.out.println("| weights | products | rows | CPU | OpenCL | ratio |");
        System.out.println("|---|---|---|---|---|---|");
        try (found) {
            compare(Format.F32, Products.EXACT, found);
            compare(Format.BF16, Products.EXACT, found);
            compare(Format.Q8_0, Products.EXACT, found);
            compare(Format.Q4_0, Products.EXACT, found);
            compare(Format.Q4_K, Products.EXACT, found);
            compare(Format.BF16, Products.BF16, found);
        }
    }

    private void compare(Format format, Products arithmetic, OpenClDevice found) {
        try (Backend host = HostBackend.of(arithmetic, machine.threads())) {
            Backend on = new GpuBackend(found, arithmetic);
            Matrix w = weights(format);
            for (int rows : new int[] {1, 8, 32, 128, 1024}) {
                double first = flops(host, w, rows);
                double second = flops(on, w, rows);
                System.out.printf(
                        Locale.ROOT,
                        "| %s | %s | %d | %.0f | %.0f | %.2f |%n",
                        format,
                        arithmetic,
                        rows,
                        first / 1e9,
                        second / 1e9,
                        second / first);
            }
        }
    }

    private static Matrix weights(Format format) {
        ByteBuffer bytes = ByteBuffer.allocateDirect((int) (SIDE * format.rowBytes(SIDE)));
        bytes.order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < bytes.capacity(); i += 2) {
            // Of float32 this is a number too.
            bytes.putShort(i, (short) (0x3c00 + i % 127));
        }
        return Matrix.of(format, SIDE, SIDE, bytes);
    }

    /** Products one after the other, until the last has been answered. */
    private static double flops(Backend on, Matrix w, int rows) {
        float[] values = new float[rows * SIDE];
        for (int i = 0; i < values.length; i++) {
            values[i] = i % 7 - 3;
        }
        Tensor x = new Tensor(on.allocate(values.length), 0, rows, SIDE);
        on.upload(x, values);
        Tensor out = new Tensor(on.allocate(values.length), 0, rows, SIDE);
        Tensor end = new Tensor(out.buffer(), 0, 1, 1);
        double best = 0;
        int rounds = 0;
        for (long start = System.nanoTime(); rounds < ROUNDS; ) {
            long now = System.nanoTime();
            for (int i = 0; i < PRODUCTS; i++) {
                on.matmul(out, 0, x, w, null);
            }
            on.download(end, new float[1]);
            if (now - start > WARM_NANOS) {
                best = Math.max(best, 2.0 * rows * SIDE * SIDE * PRODUCTS / ((System.nanoTime() - now) / 1e9));
                rounds++;
            }
        }
        return best;
    }
}
