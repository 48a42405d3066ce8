package io.nightmill.runtime;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Completion.Failure;
import io.nightmill.engine.Completion.Timing;
import io.nightmill.engine.Engine;
import io.nightmill.engine.Engine.Counters;
import io.nightmill.engine.Request;
import io.nightmill.kernels.gpu.DeviceException;
import io.nightmill.runtime.ExecutorRuntime.Receiver;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The thread that steps an engine for all tasks. An engine that breaks is replaced, and the requests that it was running are
 * tried again in halves of halves, until the one that breaks it is alone: that one fails, its neighbours finish. A step that
 * takes too long breaks the loop, since nobody can take its thread away.
 */
final class EngineLoop implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(EngineLoop.class);
    /** How often a request may break an engine that runs nothing else. */
    private static final int ATTEMPTS = 2;

    /** A request and who waits for it; without a receiver, that it is to be forgotten. */
    private static final class Entry {
        final Request request;
        final @Nullable Receiver receiver;
        int breaks;

        Entry(Request request, @Nullable Receiver receiver) {
            this.request = request;
            this.receiver = receiver;
        }

        /** A request is only itself: two may be equal. */
        @SuppressWarnings("ReferenceEquality")
        boolean isOf(Request other) {
            return request == other;
        }
    }

    private final Supplier<Engine> engines;
    private final Duration stepTimeout;
    private final LinkedBlockingQueue<Entry> inbox = new LinkedBlockingQueue<>();
    /** What the engine runs, in the order it came. */
    private final List<Entry> running = new ArrayList<>();
    /** What came while suspects are tried. */
    private final List<Entry> waiting = new ArrayList<>();
    /** Groups to be tried by themselves. */
    private final ArrayDeque<List<Entry>> suspects = new ArrayDeque<>();

    private final Thread thread;
    private @Nullable Engine engine;
    /** Whether what runs is a group of suspects. */
    private boolean trying;

    private Counters before = Counters.NONE;
    private long[][] loadBefore = new long[0][];
    private volatile Counters counters;
    private volatile long[][] expertLoad = new long[0][];
    private volatile boolean closed;
    private volatile @Nullable Throwable broken;
    private volatile long stepStart;

    /**
     * @param engines makes an engine, the first and those in place of broken ones
     * @param stepTimeout of a step; zero is none
     * @param onHang told once when a step takes longer
     */
    EngineLoop(Supplier<Engine> engines, Duration stepTimeout, Runnable onHang) {
        this.engines = engines;
        this.stepTimeout = stepTimeout;
        this.engine = engines.get();
        this.counters = engine.counters();
        this.thread = new Thread(this::run, "nightmill-engine");
        thread.setDaemon(true);
        thread.start();
        if (!stepTimeout.isZero()) {
            Thread watch = new Thread(() -> watch(onHang), "nightmill-watchdog");
            watch.setDaemon(true);
            watch.start();
        }
    }

    /** Why the loop has ended before it was closed, or null. */
    @Nullable
    Throwable broken() {
        return broken;
    }

    /** Over all engines so far. */
    Counters counters() {
        return counters;
    }

    /** Over all engines so far. */
    long[][] expertLoad() {
        return expertLoad;
    }

    void submit(Request request, Receiver receiver) {
        inbox.add(new Entry(request, receiver));
        Throwable reason = broken;
        if (reason != null) {
            failAll(reason);
        }
    }

    void cancel(Request request) {
        inbox.add(new Entry(request, null));
    }

    private void run() {
        try {
            while (!closed && broken == null) {
                receive();
                admit();
                step();
            }
        } catch (InterruptedException e) {
            LOG.debug("The engine's thread was asked to end", e);
        } catch (RuntimeException | Error e) {
            LOG.error("The engine cannot be replaced; its tasks fail and are tried again", e);
            broken = e;
            failAll(e);
        } finally {
            if (engine != null) {
                engine.close();
            }
        }
    }

    private void receive() throws InterruptedException {
        boolean idle = running.isEmpty() && waiting.isEmpty() && suspects.isEmpty();
        Entry entry = idle ? inbox.poll(100, TimeUnit.MILLISECONDS) : inbox.poll();
        for (; entry != null; entry = inbox.poll()) {
            Request request = entry.request;
            if (entry.receiver != null) {
                waiting.add(entry);
            } else if (running.removeIf(other -> other.isOf(request))) {
                engine.cancel(request);
            } else {
                waiting.removeIf(other -> other.isOf(request));
                suspects.forEach(group -> group.removeIf(other -> other.isOf(request)));
            }
        }
    }

    /** Gives the engine what it may run: a group of suspects by itself, or all that waits. */
    private void admit() {
        trying &= !running.isEmpty();
        if (trying) {
            return;
        }
        if (suspects.isEmpty()) {
            start(waiting);
            waiting.clear();
        } else if (running.isEmpty()) {
            trying = true;
            start(suspects.remove());
        }
    }

    private void start(List<Entry> entries) {
        running.addAll(entries);
        try {
            entries.forEach(entry -> engine.submit(entry.request));
        } catch (RuntimeException | Error e) {
            replace(e);
        }
    }

    private void step() {
        List<Completion> completions = List.of();
        stepStart = System.nanoTime();
        try {
            completions = engine.step();
        } catch (RuntimeException | Error e) {
            if (broken == null) {
                replace(e);
            }
        }
        stepStart = 0;
        counters = before.plus(engine.counters());
        if (!completions.isEmpty()) {
            expertLoad = plus(loadBefore, engine.expertLoad());
        }
        for (Completion completion : completions) {
            running.stream()
                    .filter(entry -> entry.isOf(completion.request()))
                    .findFirst()
                    .ifPresent(entry -> {
                        running.remove(entry);
                        entry.receiver.completed(completion);
                    });
        }
    }

    /** A new engine; the requests of the broken one become suspects. */
    private void replace(Throwable reason) {
        if (running.isEmpty()) {
            throw new IllegalStateException("The engine broke without anything to run", reason);
        }
        if (reason instanceof DeviceException loss && loss.lost()) {
            // Another engine would find the same device; what to do is the runtime's.
            throw loss;
        }
        List<Entry> group = new ArrayList<>(running);
        running.clear();
        LOG.warn(
                "The engine broke while it ran {} rows, first {}: they are tried again apart",
                group.size(),
                group.stream().limit(5).map(entry -> entry.request.id()).toList(),
                reason);
        before = counters.ended();
        loadBefore = expertLoad;
        suspects.addFirst(group);
        // The broken one's states go before the new one's come.
        engine = null;
        engine = engines.get();
        suspects.removeFirst();
        group.forEach(entry -> entry.breaks += group.size() == 1 ? 1 : 0);
        Entry first = group.get(0);
        if (group.size() > 1) {
            int half = group.size() / 2;
            suspects.addFirst(new ArrayList<>(group.subList(half, group.size())));
            suspects.addFirst(new ArrayList<>(group.subList(0, half)));
        } else if (first.breaks < ATTEMPTS) {
            suspects.addFirst(group);
        } else {
            Failure failure = new Failure(
                    Failure.Code.INTERNAL,
                    "the engine broke %d times while it ran this row alone: %s".formatted(first.breaks, reason));
            first.receiver.completed(new Completion(first.request, List.of(), null, 0, failure, new Timing(0, 0, 0)));
        }
    }

    private static long[][] plus(long[][] past, long[][] now) {
        long[][] sum = Arrays.stream(now).map(long[]::clone).toArray(long[][]::new);
        for (int layer = 0; layer < Math.min(past.length, sum.length); layer++) {
            for (int e = 0; e < sum[layer].length; e++) {
                sum[layer][e] += past[layer][e];
            }
        }
        return sum;
    }

    private void watch(Runnable onHang) {
        try {
            while (!closed && broken == null) {
                Thread.sleep(Math.min(1000, Math.max(1, stepTimeout.toMillis() / 4)));
                long start = stepStart;
                if (start != 0 && System.nanoTime() - start > stepTimeout.toNanos()) {
                    Throwable reason = new IllegalStateException(
                            "A step of the engine has made no progress for %s s".formatted(stepTimeout.toSeconds()));
                    LOG.error("{}; all threads:\n{}", reason.getMessage(), threads());
                    broken = reason;
                    failAll(reason);
                    onHang.run();
                }
            }
        } catch (InterruptedException e) {
            LOG.debug("The watchdog was asked to end", e);
        }
    }

    private static String threads() {
        return Thread.getAllStackTraces().entrySet().stream()
                .map(EngineLoop::describe)
                .collect(Collectors.joining("\n"));
    }

    private static String describe(Map.Entry<Thread, StackTraceElement[]> thread) {
        return thread.getKey()
                + Arrays.stream(thread.getValue())
                        .map(frame -> "\n    at " + frame)
                        .collect(Collectors.joining());
    }

    /** Tells everybody who waits. The engine's thread may hang, so this is called from others too. */
    private synchronized void failAll(Throwable reason) {
        List<Entry> all = new ArrayList<>(running);
        all.addAll(waiting);
        suspects.forEach(all::addAll);
        inbox.drainTo(all);
        running.clear();
        waiting.clear();
        suspects.clear();
        for (Entry entry : all) {
            if (entry.receiver != null) {
                entry.receiver.failed(reason);
            }
        }
    }

    @Override
    public void close() {
        closed = true;
        thread.interrupt();
    }
}
