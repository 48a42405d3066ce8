package io.nightmill.runtime;

import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.StreamedWeights;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;

/**
 * How devices were used so far.
 *
 * @param streamedBytes of weights that were brought since the device did not hold them
 * @param expertHits experts that were there when they were chosen
 * @param expertMisses those that had to be brought
 * @param kernels those that took longest first
 */
public record DeviceUse(long streamedBytes, long expertHits, long expertMisses, List<KernelTime> kernels)
        implements Serializable {
    public static final DeviceUse NONE = new DeviceUse(0, 0, 0, List.of());

    /**
     * @param seconds on the device, by every 17th launch
     * @param flops of products, else 0
     * @param bytes of weights that products read, else 0
     */
    public record KernelTime(String kernel, long launches, double seconds, double flops, double bytes)
            implements Serializable {}

    static DeviceUse of(GpuBackend backend) {
        StreamedWeights.Cost cost = backend.streamed();
        List<KernelTime> kernels = backend.kernelTimes().stream()
                .map(k -> new KernelTime(k.kernel(), k.launches(), k.seconds(), k.flops(), k.bytes()))
                .toList();
        return new DeviceUse(cost.bytes(), cost.hits(), cost.misses(), kernels);
    }

    /** Of two devices: their kernels beside each other. */
    public DeviceUse plus(DeviceUse other) {
        List<KernelTime> both = new ArrayList<>(kernels);
        both.addAll(other.kernels);
        return new DeviceUse(
                streamedBytes + other.streamedBytes,
                expertHits + other.expertHits,
                expertMisses + other.expertMisses,
                List.copyOf(both));
    }
}
