package io.nightmill.engine;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * States at prefixes that several requests share: their pages, and a slot with the recurrent states as they were there. A
 * request begins where the longest such prefix ends, to the bit as if it had computed it. The least recently used go first
 * when memory is short.
 */
final class PrefixCache {

    /** The first {@code length} tokens of a prompt. */
    static final class Prefix {
        private final int[] tokens;
        final int length;
        private final int hash;

        Prefix(int[] tokens, int length) {
            this.tokens = tokens;
            this.length = length;
            int sum = 1;
            for (int i = 0; i < length; i++) {
                sum = 31 * sum + tokens[i];
            }
            this.hash = sum;
        }

        @Override
        public int hashCode() {
            return hash;
        }

        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof Prefix that
                    && length == that.length
                    && Arrays.equals(tokens, 0, length, that.tokens, 0, length);
        }
    }

    /** What is held for a prefix; {@code regime} is that of its rotary keys. */
    private record Snapshot(int[] pages, int slot, int regime) {}

    private final Memory memory;
    private final Map<Prefix, Snapshot> snapshots = new LinkedHashMap<>(16, 0.75f, true);
    private final Map<Prefix, Sequence> underway = new HashMap<>();

    PrefixCache(Memory memory) {
        this.memory = memory;
    }

    private static boolean mayBegin(Sequence s, Prefix prefix) {
        return prefix.length < s.count && prefix.length < s.toScore;
    }

    /** Whether another running sequence is about to compute what this one could begin with. */
    boolean isUnderway(Sequence s) {
        for (Prefix prefix : s.job.prefixes()) {
            Sequence other = underway.get(prefix);
            if (other != null && !other.equals(s) && mayBegin(s, prefix) && !snapshots.containsKey(prefix)) {
                return true;
            }
        }
        return false;
    }

    /** Gives a sequence that has computed nothing the longest prefix there is. */
    void begin(Sequence s) {
        Prefix[] prefixes = s.job.prefixes();
        for (int i = prefixes.length - 1; i >= 0; i--) {
            Snapshot snapshot = mayBegin(s, prefixes[i]) ? snapshots.get(prefixes[i]) : null;
            if (snapshot != null && snapshot.regime == s.regime) {
                for (int page : snapshot.pages) {
                    memory.sharePage(page);
                    s.addPage(page);
                }
                if (snapshot.slot >= 0) {
                    memory.shareSlot(snapshot.slot);
                }
                s.slot = snapshot.slot;
                s.computed = prefixes[i].length;
                return;
            }
        }
    }

    /** Notes which shared prefixes a sequence that runs will reach. */
    void started(Sequence s) {
        for (Prefix prefix : s.job.prefixes()) {
            if (prefix.length > s.computed && prefix.length <= s.count && !snapshots.containsKey(prefix)) {
                underway.putIfAbsent(prefix, s);
            }
        }
    }

    /** A sequence that no longer runs reaches nothing. */
    void stopped(Sequence s) {
        for (Prefix prefix : s.job.prefixes()) {
            underway.remove(prefix, s);
        }
    }

    /** Tokens until the next shared prefix ends, at most {@code tokens}. */
    int untilNext(Sequence s, int tokens) {
        for (Prefix prefix : s.job.prefixes()) {
            if (prefix.length > s.computed) {
                return Math.min(tokens, prefix.length - s.computed);
            }
        }
        return tokens;
    }

    /** Keeps the states of a sequence that stands at the end of a shared prefix. */
    void reached(Sequence s) {
        for (Prefix prefix : s.job.prefixes()) {
            if (prefix.length == s.computed && underway.remove(prefix, s) && !snapshots.containsKey(prefix)) {
                int[] pages = Arrays.copyOf(s.pages, memory.pagesFor(s.computed));
                for (int page : pages) {
                    memory.sharePage(page);
                }
                if (s.slot >= 0) {
                    memory.shareSlot(s.slot);
                }
                snapshots.put(prefix, new Snapshot(pages, s.slot, s.regime));
            }
        }
    }

    /** Lets go of the least recently used prefix. Returns whether there was one. */
    boolean evict() {
        Iterator<Snapshot> eldest = snapshots.values().iterator();
        if (!eldest.hasNext()) {
            return false;
        }
        Snapshot snapshot = eldest.next();
        eldest.remove();
        for (int page : snapshot.pages) {
            memory.givePage(page);
        }
        if (snapshot.slot >= 0) {
            memory.giveSlot(snapshot.slot);
        }
        return true;
    }
}
