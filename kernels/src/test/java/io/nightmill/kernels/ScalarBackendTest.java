package io.nightmill.kernels;

class ScalarBackendTest extends BackendSuite {
    @Override
    Backend backend() {
        return new HostBackend(2, new ScalarLanes(), Products.EXACT);
    }
}
