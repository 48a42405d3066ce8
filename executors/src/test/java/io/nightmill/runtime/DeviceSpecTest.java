package io.nightmill.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.nightmill.engine.Limits;
import io.nightmill.kernels.gpu.DeviceException;
import io.nightmill.runtime.DeviceSpec.Kind;
import io.nightmill.weights.Precision;
import org.junit.jupiter.api.Test;

class DeviceSpecTest {
    private static ModelSpec spec(String device, Precision precision, String onLoss) {
        return new ModelSpec("model", precision, new Limits(0, 8, 8), 0, 0, DeviceSpec.of(device, 0.8, onLoss));
    }

    @Test
    void aSpecTravelsAsText() {
        for (String device : new String[] {"auto", "cpu", "opencl", "opencl:3"}) {
            ModelSpec spec = spec(device, Precision.F32, "retry");
            assertThat(ModelSpec.parse(spec.format())).isEqualTo(spec);
            assertThat(spec.device().device()).isEqualTo(device);
        }
    }

    @Test
    void whatIsNotKnownIsSaid() {
        for (String device : new String[] {"gpu", "cpu:1", "opencl:", "cuda"}) {
            assertThatThrownBy(() -> DeviceSpec.of(device, 0.9, "fail"))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("Cannot use device '" + device + "', expected auto, cpu, opencl or opencl:n");
        }
        assertThatThrownBy(() -> DeviceSpec.of("cpu", 1.5, "fail")).hasMessageContaining("device-memory-fraction 1.5");
        assertThatThrownBy(() -> DeviceSpec.of("cpu", 0.9, "wait")).hasMessageContaining("on-device-loss 'wait'");
    }

    @Test
    void autoIsDecidedOnceAndSaysWhy() {
        ModelSpec auto = spec("auto", Precision.AUTO, "fail");
        Devices.Choice given = Devices.choose(auto, false, true);
        assertThat(given.spec().device().kind()).isEqualTo(Kind.OPENCL);
        assertThat(given.reason()).isEqualTo("Spark gives each executor a GPU");
        Devices.Choice none = Devices.choose(auto, false, false);
        assertThat(none.spec().device().kind()).isEqualTo(Kind.CPU);
        assertThat(none.reason()).startsWith("Spark gives executors no GPU");
        Devices.Choice rounded = Devices.choose(spec("auto", Precision.INT8, "fail"), false, true);
        assertThat(rounded.spec().device().kind()).isEqualTo(Kind.OPENCL);
        assertThat(Devices.choose(spec("opencl:1", Precision.F32, "fail"), false, false))
                .isEqualTo(new Devices.Choice(spec("opencl:1", Precision.F32, "fail"), ""));
    }

    @Test
    void aDeviceThatIsNotThereIsSaidBeforeTheRun() {
        assertThatThrownBy(() -> Devices.choose(spec("opencl:77", Precision.F32, "fail"), true, false))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("Cannot use device opencl:77: found [opencl:0 ");
    }

    @Test
    void afterALossTheUserDecides() {
        DeviceException loss = new DeviceException("the device is gone", true);
        ModelSpec retry = spec("opencl", Precision.F32, "retry");
        assertThat(ExecutorRuntime.afterLoss(loss, retry)).isEqualTo(retry);
        assertThat(ExecutorRuntime.afterLoss(loss, spec("opencl", Precision.F32, "cpu"))
                        .device()
                        .kind())
                .isEqualTo(Kind.CPU);
        ModelSpec fail = spec("opencl", Precision.F32, "fail");
        assertThatThrownBy(() -> ExecutorRuntime.afterLoss(loss, fail))
                .isInstanceOf(DeviceException.class)
                .hasMessage("the device is gone (--on-device-loss fail)");
        assertThat(ExecutorRuntime.afterLoss(new IllegalStateException("another reason"), fail))
                .isEqualTo(fail);
    }
}
