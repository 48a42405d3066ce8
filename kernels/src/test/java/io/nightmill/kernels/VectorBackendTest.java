package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Test;

class VectorBackendTest extends BackendSuite {
    @Override
    Backend backend() {
        return new HostBackend(3);
    }

    /** Of the machine's width, or of the one that this run asks for. */
    @Test
    void vectorModuleIsUsed() {
        int own = FloatVector.SPECIES_PREFERRED.vectorBitSize();
        assertThat(new HostBackend(1).name())
                .startsWith("host-vector-" + Integer.getInteger("nightmill.vectorBits", own));
    }
}
