package io.nightmill.kernels;

class ScalarRecurrenceTest extends RecurrenceSuite {
    @Override
    Backend backend() {
        return new HostBackend(1, new ScalarLanes(), Products.EXACT);
    }
}
