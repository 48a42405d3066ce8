package io.nightmill.engine;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/** The states of all running sequences: pages that are taken, shared and returned. One page id serves every layer. */
final class Memory {
    static final int PAGE_TOKENS = 16;

    private final Backend backend;
    private final List<List<State>> states;
    private final int[] holders;
    private final ArrayDeque<Integer> free = new ArrayDeque<>();

    /**
     * @param specs per branch
     * @param bytes at most so many for all pools
     * @param mostPages more are never needed
     */
    Memory(Backend backend, List<List<State.Spec>> specs, long bytes, long mostPages) {
        this.backend = backend;
        long pageBytes = bytesPerToken(specs) * PAGE_TOKENS;
        int widest = specs.stream()
                .flatMap(List::stream)
                .mapToInt(State.Spec::width)
                .max()
                .orElse(1);
        long most = Math.min(mostPages, Integer.MAX_VALUE / (long) widest / PAGE_TOKENS);
        int pages = (int) Math.min(pageBytes == 0 ? most : bytes / pageBytes, most);
        if (pages < 1) {
            throw new IllegalArgumentException(
                    "Cannot hold one page of states in kv-memory %d: it needs %d bytes".formatted(bytes, pageBytes));
        }
        holders = new int[pages];
        List<List<State>> all = new ArrayList<>();
        for (List<State.Spec> branch : specs) {
            List<State> mine = new ArrayList<>();
            for (State.Spec spec : branch) {
                int rows = pages * PAGE_TOKENS;
                mine.add(new State(
                        spec, new Tensor(backend.allocate((long) rows * spec.width()), 0, rows, spec.width())));
            }
            all.add(List.copyOf(mine));
        }
        states = List.copyOf(all);
        for (int page = 0; page < pages; page++) {
            free.add(page);
        }
    }

    static long bytesPerToken(List<List<State.Spec>> specs) {
        return specs.stream().flatMap(List::stream).mapToLong(State.Spec::width).sum() * Float.BYTES;
    }

    static int pagesFor(int tokens) {
        return (tokens + PAGE_TOKENS - 1) / PAGE_TOKENS;
    }

    List<List<State>> states() {
        return states;
    }

    int pages() {
        return holders.length;
    }

    int freePages() {
        return free.size();
    }

    /** A page of one's own; there must be a free one. */
    int take() {
        int page = free.remove();
        holders[page] = 1;
        return page;
    }

    void share(int page) {
        holders[page]++;
    }

    boolean isShared(int page) {
        return holders[page] > 1;
    }

    /** A copy of a shared page for one of its holders, who gives the shared one up; there must be a free page. */
    int own(int page) {
        int copy = take();
        for (List<State> branch : states) {
            for (State state : branch) {
                backend.copyRows(state.pool(), page * PAGE_TOKENS, copy * PAGE_TOKENS, PAGE_TOKENS);
            }
        }
        give(page);
        return copy;
    }

    void give(int page) {
        if (--holders[page] == 0) {
            free.add(page);
        }
    }
}
