package io.nightmill.kernels;

class VectorRecurrenceTest extends RecurrenceSuite {
    @Override
    Backend backend() {
        return new HostBackend(2, VectorLanes.ifWide().orElseThrow(), Products.EXACT);
    }
}
