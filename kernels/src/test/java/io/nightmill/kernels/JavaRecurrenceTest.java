package io.nightmill.kernels;

import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.JavaDevice;

class JavaRecurrenceTest extends RecurrenceSuite {
    @Override
    Backend backend() {
        return new GpuBackend(new JavaDevice());
    }
}
