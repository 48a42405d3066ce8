package io.nightmill.jobs;

import io.nightmill.kernels.gpu.DeviceException;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.kernels.gpu.OpenClDevice.Info;
import io.nightmill.kernels.gpu.SelfTest;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

/** What {@code --device opencl} can run on. */
@Command(
        name = "devices",
        description =
                "Lists OpenCL devices, GPUs first, and tries each: a norm, a product, an activation and a softmax.")
final class DevicesJob implements Callable<Integer> {
    @Override
    public Integer call() {
        List<Info> devices = OpenClDevice.list();
        if (devices.isEmpty()) {
            System.out.println(
                    "No OpenCL device: neither a GPU's driver (/etc/OpenCL/vendors/*.icd) nor PoCL is installed");
            return 0;
        }
        boolean allPass = true;
        for (Info info : devices) {
            System.out.println(info);
            System.out.printf(
                    Locale.ROOT,
                    "  %s, %d compute units, %.1f GB of memory, %.1f GB in one allocation, %d KB of local memory%n",
                    info.type(),
                    info.units(),
                    info.memoryBytes() / 1e9,
                    info.mostBytes() / 1e9,
                    info.localBytes() >> 10);
            System.out.println("  extensions: " + String.join(" ", info.extensions()));
            allPass &= passes(info);
        }
        return allPass ? 0 : 1;
    }

    private static boolean passes(Info info) {
        try (OpenClDevice device = OpenClDevice.open(info.index())) {
            double difference = SelfTest.largestDifference(device);
            boolean passes = SelfTest.passes(difference);
            System.out.printf(
                    Locale.ROOT,
                    "  self-test: %s, largest difference %.1e%n",
                    passes ? "passed" : "FAILED",
                    difference);
            return passes;
        } catch (DeviceException e) {
            System.out.println("  self-test: FAILED, " + e.getMessage());
            return false;
        }
    }
}
