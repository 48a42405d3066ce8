package io.nightmill.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.TestSampling;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.weights.Precision;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A JVM with several devices. The build tells PoCL to show two. */
class ExecutorRuntimeTest {
    private static final Path MODEL = Path.of(System.getProperty("nightmill.shared"), "golden/qwen3");

    @AfterEach
    void shutdown() {
        ExecutorRuntime.shutdown();
    }

    private static ModelSpec spec(String device) {
        return new ModelSpec(
                MODEL.toString(), Precision.F32, new Limits(1 << 22, 4, 64), 0, 0, DeviceSpec.of(device, 0.9, "fail"));
    }

    private static ExecutorRuntime start(String device, String... gpus) {
        return ExecutorRuntime.getOrStart(spec(device), Path::of, List.of(gpus));
    }

    private static int[] answer(ExecutorRuntime runtime) throws Exception {
        CompletableFuture<Completion> answer = new CompletableFuture<>();
        Request request =
                new Request("row", new int[] {3, 1, 4}, new Request.Ask.Generate(TestSampling.greedy(8, null)));
        runtime.submit(request, new ExecutorRuntime.Receiver() {
            @Override
            public void completed(Completion completion) {
                answer.complete(completion);
            }

            @Override
            public void failed(Throwable reason) {
                answer.completeExceptionally(reason);
            }
        });
        return answer.get(60, TimeUnit.SECONDS).outputs().get(0).tokens();
    }

    @Test
    void eachDeviceHasARuntimeAndATaskGetsItsOwn() throws Exception {
        assertThat(OpenClDevice.list()).as("OpenCL devices, see POCL_DEVICES").hasSizeGreaterThanOrEqualTo(2);
        ExecutorRuntime first = start("opencl", "0");
        ExecutorRuntime second = start("opencl", "1", "0");
        assertThat(first.backendName()).startsWith("opencl:0 ");
        assertThat(second.backendName()).startsWith("opencl:1 ");
        assertThat(start("opencl", "1")).isSameAs(second);
        assertThat(start("opencl")).isSameAs(first);
        assertThat(ExecutorRuntime.running()).containsExactly(first, second);
        assertThat(answer(second)).hasSize(8).isEqualTo(answer(first));
    }

    @Test
    void aDeviceThatTheUserNamesStandsBeforeThatOfSpark() {
        assertThat(start("opencl:1", "0").backendName()).startsWith("opencl:1 ");
    }

    @Test
    void oneModelAtATime() {
        start("cpu");
        assertThatThrownBy(() -> start("opencl"))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("one model at a time");
    }

    @Test
    void anAddressThatIsNoNumberIsSaid() {
        assertThatThrownBy(() -> start("opencl", "GPU-8f2c"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("address 'GPU-8f2c'");
    }
}
