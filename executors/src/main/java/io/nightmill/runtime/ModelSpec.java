package io.nightmill.runtime;

import io.nightmill.engine.Limits;
import io.nightmill.engine.PromptLookup;
import io.nightmill.tensor.KvType;
import io.nightmill.weights.Precision;

/**
 * What an executor must know to start its runtime; small, and sent as text.
 *
 * @param path the model's path or URI as the user gave it
 * @param threads threads of one operation; 0 is one per core of the executor
 * @param stepTimeout seconds that a step of the engine may take; 0 is any time
 */
public record ModelSpec(String path, Precision precision, Limits limits, int threads, long stepTimeout) {

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
                Integer.toString(limits.speculation().tokens()),
                Integer.toString(limits.speculation().longest()),
                Integer.toString(limits.speculation().shortest()),
                Integer.toString(threads),
                Long.toString(stepTimeout));
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
                        new PromptLookup(
                                Integer.parseInt(parts[6]), Integer.parseInt(parts[7]), Integer.parseInt(parts[8]))),
                Integer.parseInt(parts[9]),
                Long.parseLong(parts[10]));
    }
}
