package io.nightmill.runtime;

import java.util.Arrays;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Where an executor computes.
 *
 * @param index of an OpenCL device, as {@code ./nightmill devices} lists them; -1 is the one that Spark gave the executor, or else
 *     the first
 * @param memoryFraction of a GPU's memory that weights, states and all else may take
 */
public record DeviceSpec(Kind kind, int index, double memoryFraction, OnLoss onLoss) {
    private static final Pattern NAME = Pattern.compile("(auto|cpu|opencl)(:(\\d{1,4}))?");

    public static final DeviceSpec CPU = new DeviceSpec(Kind.CPU, -1, 0.9, OnLoss.FAIL);

    public enum Kind {
        /** Not decided yet: a GPU where there is one, else the CPU. */
        AUTO,
        CPU,
        OPENCL
    }

    /** What to do when a device is lost in the middle of a run. */
    public enum OnLoss {
        /** The job fails. */
        FAIL,
        /** The executor goes on without the device; later rows may differ from earlier ones in their last bits. */
        CPU,
        /** The executor opens the device again. */
        RETRY
    }

    public DeviceSpec {
        if (!(memoryFraction > 0 && memoryFraction <= 1)) {
            throw new IllegalArgumentException(
                    "Cannot use device-memory-fraction %s: expected more than 0 and at most 1"
                            .formatted(memoryFraction));
        }
    }

    /**
     * @param device {@code auto}, {@code cpu}, {@code opencl} or {@code opencl:n}
     * @param onLoss {@code fail}, {@code cpu} or {@code retry}
     */
    public static DeviceSpec of(String device, double memoryFraction, String onLoss) {
        Matcher matcher = NAME.matcher(device);
        if (!matcher.matches() || matcher.group(3) != null && !matcher.group(1).equals("opencl")) {
            throw new IllegalArgumentException(
                    "Cannot use device '" + device + "', expected auto, cpu, opencl or opencl:n");
        }
        OnLoss policy = Arrays.stream(OnLoss.values())
                .filter(value -> value.name().toLowerCase(Locale.ROOT).equals(onLoss))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "Cannot use on-device-loss '" + onLoss + "', expected fail, cpu or retry"));
        int index = matcher.group(3) == null ? -1 : Integer.parseInt(matcher.group(3));
        return new DeviceSpec(Kind.valueOf(matcher.group(1).toUpperCase(Locale.ROOT)), index, memoryFraction, policy);
    }

    public DeviceSpec on(Kind other) {
        return new DeviceSpec(other, index, memoryFraction, onLoss);
    }

    /** As {@link #of} reads it. */
    public String device() {
        return kind.name().toLowerCase(Locale.ROOT) + (index < 0 ? "" : ":" + index);
    }
}
