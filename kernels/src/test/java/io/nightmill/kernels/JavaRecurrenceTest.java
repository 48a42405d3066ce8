package io.nightmill.kernels;

import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.JavaDevice;

class JavaRecurrenceTest extends RecurrenceSuite {
    @Override
    Backend backend() {
        return new GpuBackend(new JavaDevice());
    }

    /** Its lanes, which are threads, wait for each other a dozen times a token: minutes, so only a device runs it. */
    @Override
    void modelsThatTrainAtTestTime() {}
}
