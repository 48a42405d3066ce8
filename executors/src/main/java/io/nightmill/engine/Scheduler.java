package io.nightmill.engine;

import io.nightmill.tensor.Batch;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;

/**
 * Which sequences run, and how many tokens each brings to a step: first come, first served; decoding before reading
 * prompts; when pages run out the youngest sequence gives up its own and is computed again later. A result does not
 * depend on any of this.
 */
final class Scheduler {
    /** A sequence and its share of the step. */
    record Share(Sequence sequence, int tokens) {}

    private final Memory memory;
    private final PrefixCache prefixes;
    private final Limits limits;
    private final ArrayDeque<Sequence> waiting = new ArrayDeque<>();
    private final List<Sequence> running = new ArrayList<>();
    private long preemptions;

    Scheduler(Memory memory, PrefixCache prefixes, Limits limits) {
        this.memory = memory;
        this.prefixes = prefixes;
        this.limits = limits;
    }

    void add(Sequence sequence) {
        waiting.add(sequence);
    }

    /** Outputs of one prompt go before other waiting prompts, whose pages they might otherwise wait for. */
    void addFirst(List<Sequence> sequences) {
        for (int i = sequences.size() - 1; i >= 0; i--) {
            waiting.addFirst(sequences.get(i));
        }
    }

    boolean idle() {
        return waiting.isEmpty() && running.isEmpty();
    }

    boolean runs(Sequence sequence) {
        return running.contains(sequence);
    }

    int running() {
        return running.size();
    }

    int waiting() {
        return waiting.size();
    }

    long preemptions() {
        return preemptions;
    }

    void finish(Sequence sequence) {
        running.remove(sequence);
        waiting.remove(sequence);
        release(sequence);
    }

    private void release(Sequence sequence) {
        prefixes.stopped(sequence);
        for (int i = 0; i < sequence.pageCount; i++) {
            memory.givePage(sequence.pages[i]);
        }
        sequence.pageCount = 0;
        if (sequence.slot >= 0) {
            memory.giveSlot(sequence.slot);
            sequence.slot = -1;
        }
        sequence.computed = 0;
        sequence.guessed = 0;
    }

    /** Gives {@code to} a hold of all that {@code from} has computed. */
    void share(Sequence from, Sequence to) {
        to.computed = from.computed;
        for (int i = 0; i < from.pageCount; i++) {
            memory.sharePage(from.pages[i]);
            to.addPage(from.pages[i]);
        }
        if (from.slot >= 0) {
            memory.shareSlot(from.slot);
            to.slot = from.slot;
        }
    }

    List<Sequence> sequencesOf(Job job) {
        List<Sequence> all = new ArrayList<>(running);
        all.addAll(waiting);
        all.removeIf(sequence -> sequence.job != job);
        return all;
    }

    /** Forgets what was computed, for a sequence whose rotary regime has changed. */
    void restart(Sequence sequence) {
        release(sequence);
    }

    /** The next step's shares, with pages for all of their tokens. Empty only if nothing is left to do. */
    List<Share> next() {
        List<Share> shares = new ArrayList<>();
        int budget = limits.maxNumBatchedTokens();
        boolean preempted = false;
        // Decoding sequences need one token each; those still reading take what is left.
        List<Sequence> order = new ArrayList<>(running);
        order.sort((a, b) -> Boolean.compare(isReading(a), isReading(b)));
        for (Sequence sequence : order) {
            // A draft's sequence that waits for the model's verdict has nothing to compute.
            if (budget == 0 || !running.contains(sequence) || sequence.computed == sequence.count) {
                continue;
            }
            int tokens = tokens(sequence, budget);
            if (sequence.guessed > 0 && !fits(sequence, tokens)) {
                sequence.guessed = 0;
                tokens = tokens(sequence, budget);
            }
            while (running.contains(sequence) && !reserve(sequence, tokens)) {
                preempt(shares);
                preempted = true;
            }
            if (running.contains(sequence)) {
                shares.add(new Share(sequence, tokens));
                budget -= tokens;
            }
        }
        Iterator<Sequence> next = waiting.iterator();
        while (!preempted && budget > 0 && next.hasNext() && running.size() < limits.maxNumSeqs()) {
            Sequence sequence = next.next();
            if (sequence.computed == 0 && prefixes.isUnderway(sequence)) {
                continue;
            }
            boolean begins = sequence.computed == 0;
            if (begins) {
                prefixes.begin(sequence);
            }
            int tokens = tokens(sequence, budget);
            if (!admits(sequence) || !reserve(sequence, tokens)) {
                if (begins) {
                    release(sequence);
                }
                if (running.isEmpty() && reclaimFromWaiting(sequence)) {
                    next = waiting.iterator();
                    continue;
                }
                break;
            }
            next.remove();
            running.add(sequence);
            prefixes.started(sequence);
            if (begins) {
                sequence.job.cachedTokens = Math.max(sequence.job.cachedTokens, sequence.computed - sequence.job.lead);
            }
            shares.add(new Share(sequence, tokens));
            budget -= tokens;
        }
        return shares;
    }

    private int tokens(Sequence sequence, int budget) {
        return prefixes.untilNext(sequence, Math.min(budget, sequence.count + sequence.guessed - sequence.computed));
    }

    /** Whether a sequence may join those that run: with pages for all that it has, and one to grow into. */
    private boolean admits(Sequence sequence) {
        int needed = memory.pagesFor(sequence.count) - sequence.pageCount + 1;
        while (needed > memory.freePages() && memory.pages() > 0 && !running.isEmpty()) {
            if (!prefixes.evict()) {
                return false;
            }
        }
        return true;
    }

    private static boolean isReading(Sequence sequence) {
        return sequence.count - sequence.computed > 1;
    }

    /** Makes room for the next tokens: new pages, a copy of a shared last page, a slot of its own. */
    private boolean reserve(Sequence sequence, int tokens) {
        while (!fits(sequence, tokens)) {
            if (!prefixes.evict()) {
                return false;
            }
        }
        int partial = sequence.computed / Batch.PAGE_TOKENS;
        if (sharesLast(sequence)) {
            sequence.pages[partial] = memory.ownPage(sequence.pages[partial]);
        }
        while (sequence.pageCount < memory.pagesFor(sequence.computed + tokens)) {
            sequence.addPage(memory.takePage());
        }
        if (wantsSlot(sequence)) {
            sequence.slot = sequence.slot < 0 ? memory.takeSlot() : memory.ownSlot(sequence.slot);
        }
        return true;
    }

    private boolean fits(Sequence sequence, int tokens) {
        int needed = memory.pagesFor(sequence.computed + tokens) - sequence.pageCount;
        boolean pagesFit = needed + (sharesLast(sequence) ? 1 : 0) <= memory.freePages();
        return pagesFit && (!wantsSlot(sequence) || memory.freeSlots() > 0);
    }

    /** Whether the page that the next token goes to is held by others too. */
    private boolean sharesLast(Sequence sequence) {
        int partial = sequence.computed / Batch.PAGE_TOKENS;
        return partial < sequence.pageCount
                && sequence.computed % Batch.PAGE_TOKENS != 0
                && memory.isSharedPage(sequence.pages[partial]);
    }

    private boolean wantsSlot(Sequence sequence) {
        return memory.hasSlots() && (sequence.slot < 0 || memory.isSharedSlot(sequence.slot));
    }

    /** The youngest running sequence gives up its states and waits at the front. */
    private void preempt(List<Share> shares) {
        Sequence youngest = running.remove(running.size() - 1);
        shares.removeIf(share -> share.sequence == youngest);
        release(youngest);
        waiting.addFirst(youngest);
        preemptions++;
    }

    /** With nothing running, states can only be held by waiting outputs of a shared prompt: the last of them lets go. */
    private boolean reclaimFromWaiting(Sequence except) {
        Sequence[] all = waiting.toArray(new Sequence[0]);
        for (int i = all.length - 1; i >= 0; i--) {
            if (all[i] != except && all[i].computed > 0) {
                release(all[i]);
                return true;
            }
        }
        return false;
    }

    /** Lays the shares' tokens end to end. */
    static Batch batch(List<Share> shares) {
        int total = shares.stream().mapToInt(Share::tokens).sum();
        int[] tokens = new int[total];
        List<Batch.Span> spans = new ArrayList<>();
        int first = 0;
        for (Share share : shares) {
            Sequence s = share.sequence;
            System.arraycopy(s.tokens, s.computed, tokens, first, share.tokens);
            spans.add(new Batch.Span(
                    first, share.tokens, s.computed, s.known, Arrays.copyOf(s.pages, s.pageCount), s.slot));
            first += share.tokens;
        }
        return new Batch(tokens, spans);
    }
}
