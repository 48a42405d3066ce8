package io.nightmill.pipeline;

import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.IntStream;

/** Where prompts part from each other: the lengths at which the engine should remember its states. */
final class SharedPrefixes {
    /** A place is worth a snapshot if so many tokens are saved by it in all. */
    private static final int LEAST_SAVED = 8;

    private SharedPrefixes() {}

    /**
     * For each prompt, the lengths of its beginnings that others have too and that are worth remembering, ascending.
     *
     * @param prompts in the order of their tokens
     */
    static int[][] of(List<int[]> prompts) {
        int n = prompts.size();
        int[] common = new int[n + 1];
        for (int i = 1; i < n; i++) {
            common[i] = commonLength(prompts.get(i - 1), prompts.get(i));
        }
        int[][] lengths = new int[n][];
        for (int i = 0; i < n; i++) {
            TreeMap<Integer, Integer> sharers = new TreeMap<>();
            for (int j = i, least = Integer.MAX_VALUE; common[j] > 0; j--) {
                least = Math.min(least, common[j]);
                sharers.merge(least, 1, Integer::sum);
            }
            for (int j = i + 1, least = Integer.MAX_VALUE; common[j] > 0; j++) {
                least = Math.min(least, common[j]);
                sharers.merge(least, 1, Integer::sum);
            }
            lengths[i] = worthwhile(sharers);
        }
        return lengths;
    }

    private static int commonLength(int[] a, int[] b) {
        int mismatch = Arrays.mismatch(a, b);
        return mismatch < 0 ? a.length : mismatch;
    }

    /** @param sharers how many others share exactly so many tokens */
    private static int[] worthwhile(TreeMap<Integer, Integer> sharers) {
        IntStream.Builder kept = IntStream.builder();
        int before = 0;
        for (int length : sharers.keySet()) {
            int others = sharers.tailMap(length).values().stream()
                    .mapToInt(Integer::intValue)
                    .sum();
            if ((long) others * (length - before) >= LEAST_SAVED) {
                kept.add(length);
                before = length;
            }
        }
        return kept.build().toArray();
    }
}
