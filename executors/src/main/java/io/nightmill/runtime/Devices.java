package io.nightmill.runtime;

import io.nightmill.engine.Limits;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.kernels.gpu.OpenClDevice.Info;
import io.nightmill.models.Model;
import io.nightmill.runtime.DeviceSpec.Kind;
import io.nightmill.weights.Precision;
import java.util.List;

/** Which device a model runs on. */
public final class Devices {
    /** Of a device's memory, what keys, values and states get where the weights would take all. */
    private static final double STATE_SHARE = 0.2;
    /** Packed for a device, weights take a little more than stored: blocks are whole words, of 18 bytes 20. */
    private static final double PACKED = 1.12;

    private Devices() {}

    /**
     * A decision, and why.
     *
     * @param reason empty where the user has said it
     */
    public record Choice(ModelSpec spec, String reason) {}

    /**
     * Decides for {@code auto}, once for all executors of a run, so that all its rows are of one kind.
     *
     * @param isLocal whether this JVM computes
     * @param givesGpus whether Spark hands a GPU to each executor
     * @throws IllegalArgumentException if this JVM computes and does not have the device that the user names
     */
    public static Choice choose(ModelSpec spec, boolean isLocal, boolean givesGpus) {
        if (spec.device().kind() == Kind.OPENCL && isLocal) {
            OpenClDevice.require(Math.max(0, spec.device().index()));
        }
        if (spec.device().kind() != Kind.AUTO) {
            return new Choice(spec, "");
        }
        if (givesGpus) {
            return on(Kind.OPENCL, spec, "Spark gives each executor a GPU");
        }
        if (!isLocal) {
            return on(Kind.CPU, spec, "Spark gives executors no GPU (spark.executor.resource.gpu.amount)");
        }
        List<Info> found = OpenClDevice.list();
        return found.stream()
                .filter(Info::gpu)
                .findFirst()
                .map(gpu -> on(Kind.OPENCL, spec, "this machine has " + gpu))
                .orElseGet(() -> on(Kind.CPU, spec, "this machine has no OpenCL GPU"));
    }

    private static Choice on(Kind kind, ModelSpec spec, String reason) {
        return new Choice(spec.on(spec.device().on(kind)), reason);
    }

    /**
     * The device's number among those of {@link OpenClDevice#list}.
     *
     * @param gpus addresses of the GPUs that Spark gave, of which the first serves where the user names no device
     */
    public static int index(DeviceSpec spec, List<String> gpus) {
        if (spec.index() >= 0 || gpus.isEmpty()) {
            return Math.max(0, spec.index());
        }
        try {
            return Integer.parseInt(gpus.get(0).trim());
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(
                    "Cannot use the GPU that Spark gave at address '%s': expected a number as conf/gpu-discovery prints it"
                            .formatted(gpus.get(0)),
                    e);
        }
    }

    /** What weights may take of a device, in bytes. */
    static long weightLimit(ModelSpec spec, OpenClDevice device) {
        long most = (long) (spec.device().memoryFraction() * device.memoryBytes());
        long states = spec.limits().kvMemory();
        return states > 0 ? Math.max(0, most - states) : (long) ((1 - STATE_SHARE) * most);
    }

    /** What weights take on a device, about. */
    static long packedBytes(Model model, Precision precision) {
        double perParameter =
                switch (precision.products()) {
                    case EXACT -> PACKED * model.weightBytes() / model.parameters();
                    case BF16 -> 2;
                    case INT8 -> 36 / 32.0;
                    case INT4 -> 20 / 32.0;
                };
        return (long) (perParameter * model.parameters());
    }

    /** What the engine may hold on a device beside the weights, which are there by now. */
    static Limits limits(ModelSpec spec, OpenClDevice device) {
        Limits limits = spec.limits();
        if (limits.kvMemory() > 0 || !device.info().gpu()) {
            return limits;
        }
        long most = (long) (spec.device().memoryFraction() * device.memoryBytes());
        long left = most - device.allocatedBytes();
        if (left <= 0) {
            throw new IllegalStateException(
                    "Cannot run %s on %s: its weights take %,d of the %,d bytes that --device-memory-fraction %s allows"
                            .formatted(
                                    spec.path(),
                                    device.describe(),
                                    device.allocatedBytes(),
                                    most,
                                    spec.device().memoryFraction()));
        }
        return limits.withKvMemory(left);
    }
}
