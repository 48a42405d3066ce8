package io.nightmill.engine;

import static io.nightmill.tensor.Batch.PAGE_TOKENS;

import io.nightmill.kernels.Backend;
import io.nightmill.layers.StateCost;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State;
import io.nightmill.tensor.State.Spec;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/**
 * The states of all running sequences, within one budget of bytes: pages for states that grow with every token, slots for
 * states of fixed size. Both are taken, shared, copied before a holder writes, and returned. One id serves every layer.
 */
final class Memory {
    /** Rows of pools that belong together, and how many hold each. */
    private final class Units {
        final Class<? extends Spec> kind;
        final int rows;
        final int[] holders;
        final ArrayDeque<Integer> free = new ArrayDeque<>();

        Units(Class<? extends Spec> kind, int rows, int count) {
            this.kind = kind;
            this.rows = rows;
            this.holders = new int[count];
            for (int i = 0; i < count; i++) {
                free.add(i);
            }
        }

        int take() {
            int unit = free.remove();
            holders[unit] = 1;
            return unit;
        }

        int own(int unit) {
            int copy = take();
            for (List<State> branch : states) {
                for (State state : branch) {
                    if (kind.isInstance(state.spec())) {
                        backend.copyRows(state, unit * rows, copy * rows, rows);
                    }
                }
            }
            give(unit);
            return copy;
        }

        void give(int unit) {
            if (--holders[unit] == 0) {
                // Taken again before one that has never been used, which may not have memory yet.
                free.push(unit);
            }
        }
    }

    private final Backend backend;
    private final List<List<State>> states;
    private final Units pages;
    private final Units slots;
    private final StateCost cost;

    /**
     * @param specs per branch
     * @param type of the values of paged states
     * @param bytes at most so many for all pools; where states of both kinds compete, slots get up to half
     * @param mostPages more are never needed
     * @param mostSlots more are never needed
     */
    Memory(Backend backend, List<List<Spec>> specs, KvType type, long bytes, long mostPages, int mostSlots) {
        this.backend = backend;
        cost = StateCost.of(specs, type);
        long pageBytes = cost.perToken() * PAGE_TOKENS;
        long slotBytes = cost.perSequence();
        long forSlots = pageBytes == 0 ? bytes : bytes / 2;
        long slotCount = slotBytes == 0 ? 0 : Math.min(mostSlots, forSlots / slotBytes);
        slotCount = Math.min(slotCount, Integer.MAX_VALUE / widest(specs, Spec.Fixed.class));
        long left = bytes - slotCount * slotBytes;
        long pageCount = pageBytes == 0 ? 0 : Math.min(mostPages, left / pageBytes);
        pageCount = Math.min(pageCount, Integer.MAX_VALUE / widest(specs, Spec.Paged.class) / PAGE_TOKENS);
        if (pageBytes > 0 && pageCount < 1 || slotBytes > 0 && slotCount < 1) {
            throw new IllegalArgumentException(
                    "Cannot hold one sequence's states in kv-memory %d: a page needs %d bytes, a slot %d"
                            .formatted(bytes, pageBytes, slotBytes));
        }
        pages = new Units(Spec.Paged.class, PAGE_TOKENS, (int) pageCount);
        slots = new Units(Spec.Fixed.class, 1, (int) slotCount);
        List<List<State>> all = new ArrayList<>();
        for (List<Spec> branch : specs) {
            List<State> mine = new ArrayList<>();
            for (Spec spec : branch) {
                int rows = spec instanceof Spec.Paged ? (int) pageCount * PAGE_TOKENS : (int) slotCount;
                mine.add(backend.allocate(spec, rows, type));
            }
            all.add(List.copyOf(mine));
        }
        states = List.copyOf(all);
    }

    StateCost cost() {
        return cost;
    }

    private static int widest(List<List<Spec>> specs, Class<? extends Spec> kind) {
        return specs.stream()
                .flatMap(List::stream)
                .filter(kind::isInstance)
                .mapToInt(Spec::width)
                .max()
                .orElse(1);
    }

    /** Pages for so many tokens; none where no state grows. */
    int pagesFor(int tokens) {
        return pages.holders.length == 0 ? 0 : (tokens + PAGE_TOKENS - 1) / PAGE_TOKENS;
    }

    List<List<State>> states() {
        return states;
    }

    int pages() {
        return pages.holders.length;
    }

    int freePages() {
        return pages.free.size();
    }

    /** A page of one's own; there must be a free one. */
    int takePage() {
        return pages.take();
    }

    void sharePage(int page) {
        pages.holders[page]++;
    }

    boolean isSharedPage(int page) {
        return pages.holders[page] > 1;
    }

    /** A copy of a shared page for one of its holders, who gives the shared one up; there must be a free page. */
    int ownPage(int page) {
        return pages.own(page);
    }

    void givePage(int page) {
        pages.give(page);
    }

    boolean hasSlots() {
        return slots.holders.length > 0;
    }

    int slots() {
        return slots.holders.length;
    }

    int freeSlots() {
        return slots.free.size();
    }

    int takeSlot() {
        return slots.take();
    }

    void shareSlot(int slot) {
        slots.holders[slot]++;
    }

    boolean isSharedSlot(int slot) {
        return slots.holders[slot] > 1;
    }

    int ownSlot(int slot) {
        return slots.own(slot);
    }

    void giveSlot(int slot) {
        slots.give(slot);
    }
}
