package io.nightmill.engine;

import java.util.List;

/** Runs requests together, a step at a time. Confined to one thread. */
public interface Engine extends AutoCloseable {
    /** Takes a request on; a bad one comes back from the next step as a failure. */
    void submit(Request request);

    /** Forgets a request; nothing comes back for it. */
    void cancel(Request request);

    /** Advances every running sequence and returns the requests that ended. */
    List<Completion> step();

    boolean idle();

    Counters counters();

    /** Choices of each expert so far, {@code [layers with experts][experts]}. */
    long[][] expertLoad();

    @Override
    void close();

    /** Sums since the start, and how things stand now. */
    record Counters(
            long steps,
            long promptTokens,
            long cachedTokens,
            long completionTokens,
            long preemptions,
            long finished,
            int running,
            int waiting,
            int pages,
            int freePages,
            int slots,
            int freeSlots,
            long guessedTokens,
            long rightGuesses,
            Work work) {
        public static final Counters NONE = new Counters(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, Work.NONE);

        /** The sums of an engine that is no more. */
        public Counters ended() {
            return new Counters(
                    steps,
                    promptTokens,
                    cachedTokens,
                    completionTokens,
                    preemptions,
                    finished,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    guessedTokens,
                    rightGuesses,
                    work);
        }

        /** Of two engines side by side, or one after the other. */
        public Counters plus(Counters other) {
            return new Counters(
                    steps + other.steps,
                    promptTokens + other.promptTokens,
                    cachedTokens + other.cachedTokens,
                    completionTokens + other.completionTokens,
                    preemptions + other.preemptions,
                    finished + other.finished,
                    running + other.running,
                    waiting + other.waiting,
                    pages + other.pages,
                    freePages + other.freePages,
                    slots + other.slots,
                    freeSlots + other.freeSlots,
                    guessedTokens + other.guessedTokens,
                    rightGuesses + other.rightGuesses,
                    work.plus(other.work));
        }
    }
}
