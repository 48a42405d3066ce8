package io.nightmill.kernels;

import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;

class OpenClRecurrenceTest extends RecurrenceSuite {
    @Override
    Backend backend() {
        return new GpuBackend(OpenClDevice.open(0));
    }
}
