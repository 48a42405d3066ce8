package io.nightmill.kernels.gpu;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.ReferenceBackend;
import io.nightmill.kernels.Unpack;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;

/** Whether a device computes what the definition says: a norm, a product, an activation and a softmax, one after the other. */
public final class SelfTest {
    private static final int ROWS = 19;
    private static final int IN = 320;
    private static final int OUT = 130;
    private static final double TOLERANCE = 1e-5;

    private SelfTest() {}

    /** The largest difference from the reference, of values up to 1. */
    public static double largestDifference(Device device) {
        float[] expected = compute(new ReferenceBackend());
        float[] actual = compute(new GpuBackend(device));
        double most = 0;
        for (int i = 0; i < expected.length; i++) {
            double difference = Math.abs((double) actual[i] - expected[i]);
            // A value that is no number is as wrong as can be.
            most = difference <= Double.MAX_VALUE ? Math.max(most, difference) : Double.MAX_VALUE;
        }
        return most;
    }

    public static boolean passes(double largestDifference) {
        return largestDifference <= TOLERANCE;
    }

    private static float[] compute(Backend on) {
        Random random = new Random(1);
        float[] x = new float[ROWS * IN];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) random.nextGaussian();
        }
        ByteBuffer weights = ByteBuffer.allocateDirect(2 * OUT * IN).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < OUT * IN; i++) {
            weights.putShort(2 * i, Unpack.toBf16((float) random.nextGaussian() / 8));
        }
        Tensor rows = new Tensor(on.allocate(x.length), 0, ROWS, IN);
        on.upload(rows, x);
        on.rmsNorm(rows, rows, null, 1e-6f);
        Tensor out = new Tensor(on.allocate((long) ROWS * OUT), 0, ROWS, OUT);
        on.matmul(out, 0, rows, Matrix.of(Format.BF16, OUT, IN, weights), null);
        on.activate(out, out, Activation.GELU);
        on.softmax(out, out);
        float[] result = new float[ROWS * OUT];
        on.download(out, result);
        return result;
    }
}
