package io.nightmill.kernels;

import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;

/** The kernels on the machine's first OpenCL device; where there is no GPU, PoCL is one. */
class OpenClBackendTest extends BackendSuite {
    @Override
    Backend backend() {
        return new GpuBackend(OpenClDevice.open(0));
    }
}
