package io.nightmill.kernels;

import io.nightmill.kernels.Backend.Attention;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.JavaDevice;
import io.nightmill.tensor.KvType;
import org.junit.jupiter.api.Test;

/** The kernels as the Java that they are written in, without a device: fewer cases, since each lane is a thread. */
class JavaKernelsTest extends BackendSuite {
    @Override
    Backend backend() {
        return new GpuBackend(new JavaDevice());
    }

    @Override
    int[] rowCounts() {
        return new int[] {1, 9};
    }

    @Test
    @Override
    void attendsOverPagesWithWindowsCapsAndSinks() {
        attends(new Attention(2, 1, 20, 17, 0.3f, 40, 3, null), true, KvType.INT8);
        attends(new Attention(2, 1, 20, 17, 0.3f, 40, 0, null, 18), false, KvType.BF16);
    }

    @Test
    @Override
    void attendsOverLatentRows() {
        attends(new Attention(2, 1, 40, 33, 0.2f, 0, 0, null), false, KvType.F32);
    }

    /** Bits belong to a device. */
    @Override
    void bitsOfAttentionDoNotDependOnCompany() {}
}
