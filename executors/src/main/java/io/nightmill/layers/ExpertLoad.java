package io.nightmill.layers;

import java.util.Map;
import java.util.TreeMap;

/** How often each expert of each layer was chosen. Confined to the engine's thread. */
public final class ExpertLoad {
    private final Map<Integer, long[]> byLayer = new TreeMap<>();

    /** @param layer number of the branch */
    void count(int layer, int[] chosen, int experts) {
        long[] counts = byLayer.computeIfAbsent(layer, key -> new long[experts]);
        for (int expert : chosen) {
            counts[expert]++;
        }
    }

    /** Choices per expert, for each layer with experts in order. */
    public long[][] counts() {
        return byLayer.values().stream().map(long[]::clone).toArray(long[][]::new);
    }
}
