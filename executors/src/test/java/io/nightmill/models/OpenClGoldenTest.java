package io.nightmill.models;

import io.nightmill.engine.Limits;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every family on the machine's first OpenCL device, which is PoCL where there is no GPU. */
class OpenClGoldenTest {
    static Stream<Path> folders() {
        return Golden.folders();
    }

    @ParameterizedTest
    @MethodSource("folders")
    void deviceMatchesReferenceImplementation(Path folder) {
        Backend backend = new GpuBackend(OpenClDevice.open(0));
        GoldenTest.check(folder, folder, backend, new Limits(1 << 24, 8, 19));
    }
}
