package io.nightmill.jobs.eval;

import java.util.LinkedHashSet;
import java.util.Set;
import org.apache.commons.math3.random.MersenneTwister;

/** CPython's {@code random.Random(seed)}: the draws that lm-evaluation-harness makes. */
final class PythonRandom {
    private final MersenneTwister twister;

    PythonRandom(long seed) {
        long magnitude = Math.abs(seed);
        int low = (int) magnitude;
        int high = (int) (magnitude >>> 32);
        twister = new MersenneTwister(high == 0 ? new int[] {low} : new int[] {low, high});
    }

    /** {@code random()}: 53 random bits in [0, 1). */
    double random() {
        long high = Integer.toUnsignedLong(twister.nextInt()) >>> 5;
        long low = Integer.toUnsignedLong(twister.nextInt()) >>> 6;
        return (high * 67108864.0 + low) / 9007199254740992.0;
    }

    /** {@code _randbelow(n)}, for {@code 0 < n}. */
    private int below(int n) {
        int bits = 32 - Integer.numberOfLeadingZeros(n);
        int drawn = n;
        while (drawn >= n) {
            drawn = twister.nextInt() >>> (32 - bits);
        }
        return drawn;
    }

    /**
     * {@code sample(range(n), k)}.
     *
     * @throws IllegalArgumentException if fewer than k are there
     */
    int[] sample(int n, int k) {
        if (k < 0 || k > n) {
            throw new IllegalArgumentException("Cannot draw %d documents: there are %d".formatted(k, n));
        }
        int setSize = 21;
        if (k > 5) {
            setSize += (int) Math.pow(4, Math.ceil(Math.log(k * 3) / Math.log(4)));
        }
        return n <= setSize ? sampleFromPool(n, k) : sampleBySet(n, k);
    }

    private int[] sampleFromPool(int n, int k) {
        int[] pool = new int[n];
        for (int i = 0; i < n; i++) {
            pool[i] = i;
        }
        int[] result = new int[k];
        for (int i = 0; i < k; i++) {
            int j = below(n - i);
            result[i] = pool[j];
            pool[j] = pool[n - i - 1];
        }
        return result;
    }

    private int[] sampleBySet(int n, int k) {
        Set<Integer> selected = new LinkedHashSet<>();
        while (selected.size() < k) {
            selected.add(below(n));
        }
        return selected.stream().mapToInt(Integer::intValue).toArray();
    }

    /** {@code choices(range(n), k=k)}. */
    int[] choices(int n, int k) {
        int[] result = new int[k];
        for (int i = 0; i < k; i++) {
            result[i] = (int) Math.floor(random() * n);
        }
        return result;
    }
}
