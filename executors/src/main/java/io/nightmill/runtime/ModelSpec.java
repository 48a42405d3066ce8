package io.nightmill.runtime;

import io.nightmill.engine.Limits;
import io.nightmill.engine.Speculation;
import io.nightmill.tensor.KvType;
import io.nightmill.weights.Precision;
import java.util.Locale;

/**
 * What an executor must know to start its runtime; small, and sent as text.
 *
 * @param path the model's path or URI as the user gave it
 * @param threads threads of one operation; 0 is one per core of the executor
 * @param stepTimeout seconds that a step of the engine may take; 0 is any time
 * @param device where it computes
 */
public record ModelSpec(
        String path, Precision precision, Limits limits, int threads, long stepTimeout, DeviceSpec device) {
    /** One line of text, read back by {@link #parse}. */
    public String format() {
        return String.join(
                "\n",
                path,
                precision.name(),
                Long.toString(limits.kvMemory()),
                limits.kvType().name(),
                Integer.toString(limits.maxNumSeqs()),
                Integer.toString(limits.maxNumBatchedTokens()),
                limits.speculation().format(),
                Integer.toString(threads),
                Long.toString(stepTimeout),
                device.device(),
                Double.toString(device.memoryFraction()),
                device.onLoss().name().toLowerCase(Locale.ROOT));
    }

    public static ModelSpec parse(String text) {
        String[] parts = text.split("\n");
        return new ModelSpec(
                parts[0],
                Precision.valueOf(parts[1]),
                new Limits(
                        Long.parseLong(parts[2]),
                        KvType.valueOf(parts[3]),
                        Integer.parseInt(parts[4]),
                        Integer.parseInt(parts[5]),
                        Speculation.parse(parts[6])),
                Integer.parseInt(parts[7]),
                Long.parseLong(parts[8]),
                DeviceSpec.of(parts[9], Double.parseDouble(parts[10]), parts[11]));
    }

    public ModelSpec with(Limits other) {
        return new ModelSpec(path, precision, other, threads, stepTimeout, device);
    }

    public ModelSpec on(DeviceSpec other) {
        return new ModelSpec(path, precision, limits, threads, stepTimeout, other);
    }
}
