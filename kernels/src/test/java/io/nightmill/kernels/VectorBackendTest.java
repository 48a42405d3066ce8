package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class VectorBackendTest extends BackendSuite {
    @Override
    Backend backend() {
        return new HostBackend(3);
    }

    @Test
    void vectorModuleIsUsed() {
        assertThat(new HostBackend(1).name()).startsWith("host-vector-");
    }
}
