package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.engine.Limits;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Products;
import io.nightmill.kernels.gpu.Device;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

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

    /** The same where the device may hold few of the weights: attention, experts of several shapes and formats, recurrences. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "llama_tied",
                "qwen3_moe",
                "gpt_oss_mxfp4",
                "deepseek_v3",
                "granitemoehybrid",
                "qwen3_next",
                "fla_rwkv7"
            })
    void weightsThatDoNotFitAreBrought(String name) {
        Path folder = Golden.root().resolve(name);
        GpuBackend backend = new GpuBackend(OpenClDevice.open(0));
        backend.limitWeights(60_000);
        GoldenTest.check(folder, folder, backend, new Limits(1 << 24, 8, 19));
        assertThat(backend.streamed().bytes()).isPositive();
    }

    /** With the kernels that GPUs run in place of PoCL's. */
    @ParameterizedTest
    @ValueSource(strings = {"llama_tied", "qwen3_moe", "gpt_oss_mxfp4", "granitemoehybrid", "qwen3_next"})
    void formsOfGpusMatchReferenceImplementations(String name) {
        Path folder = Golden.root().resolve(name);
        Backend backend = new GpuBackend(OpenClDevice.open(0), Device.Forms.GPU, Products.EXACT);
        GoldenTest.check(folder, folder, backend, new Limits(1 << 24, 8, 256));
    }
}
