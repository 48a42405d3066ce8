package io.nightmill.pipeline;

import io.nightmill.pipeline.NightmillPlugin.Progress;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.ToLongFunction;

/** How a run goes, looked at every second on the driver: for the console, Spark's UI and the report. */
final class RunMonitor implements AutoCloseable {
    /** More points than a chart shows; beyond them every other is dropped. */
    private static final int MOST_POINTS = 600;

    /**
     * The run at a moment. Executors' messages come while tasks run, Spark's accumulators when they end; the larger counts.
     *
     * @param seconds since the run began to compute
     * @param promptTokens read or shared
     * @param cachedTokens of them, those that another row had computed
     */
    record Snapshot(
            double seconds,
            long rows,
            long allRows,
            long promptTokens,
            long cachedTokens,
            long completionTokens,
            Map<String, Long> errors,
            List<Progress> executors) {

        long sum(ToLongFunction<Progress> value) {
            return executors.stream().mapToLong(value).sum();
        }

        /** Seconds that are left if the rest goes as what is done went; negative where nothing is done. */
        double secondsLeft() {
            return rows == 0 ? -1 : seconds * (allRows - rows) / rows;
        }

        /** Of all executors' pages, or of their slots; -1 where there are none. */
        int percentUsed(ToLongFunction<Progress> all, ToLongFunction<Progress> free) {
            long total = sum(all);
            return total == 0 ? -1 : (int) (100 * (total - sum(free)) / total);
        }
    }

    private final long rows;
    private final RunCounters counters;
    private final long start = System.nanoTime();
    private final List<Snapshot> points = new ArrayList<>();
    private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "nightmill-monitor");
        thread.setDaemon(true);
        return thread;
    });
    private int every = 1;
    private long looks;

    private RunMonitor(long rows, RunCounters counters) {
        this.rows = rows;
        this.counters = counters;
    }

    /** @param watcher sees every second's snapshot */
    static RunMonitor start(long rows, RunCounters counters, Consumer<Snapshot> watcher) {
        RunMonitor monitor = new RunMonitor(rows, counters);
        monitor.clock.scheduleAtFixedRate(
                () -> {
                    Snapshot now = monitor.now();
                    monitor.keep(now);
                    watcher.accept(now);
                },
                1,
                1,
                TimeUnit.SECONDS);
        return monitor;
    }

    Snapshot now() {
        Collection<Progress> executors = new TreeMap<>(NightmillPlugin.latest()).values();
        Map<String, Long> errors = new TreeMap<>();
        executors.forEach(executor -> executor.errors().forEach((code, count) -> errors.merge(code, count, Long::sum)));
        counters.errors().forEach((code, count) -> errors.merge(code, count, Math::max));
        long cached = sum(executors, Progress::cachedTokens);
        return new Snapshot(
                (System.nanoTime() - start) / 1e9,
                Math.min(rows, Math.max(counters.rows().value(), sum(executors, Progress::finished))),
                rows,
                Math.max(counters.promptTokens().value(), sum(executors, Progress::promptTokens) + cached),
                Math.max(counters.cachedTokens().value(), cached),
                Math.max(counters.completionTokens().value(), sum(executors, Progress::completionTokens)),
                errors,
                List.copyOf(executors));
    }

    private static long sum(Collection<Progress> executors, ToLongFunction<Progress> value) {
        return executors.stream().mapToLong(value).sum();
    }

    private synchronized void keep(Snapshot now) {
        if (looks++ % every == 0) {
            points.add(now);
        }
        if (points.size() > MOST_POINTS) {
            List<Snapshot> half = new ArrayList<>();
            for (int i = 0; i < points.size(); i += 2) {
                half.add(points.get(i));
            }
            points.clear();
            points.addAll(half);
            every *= 2;
        }
    }

    /** From the beginning, evenly spaced. */
    synchronized List<Snapshot> history() {
        return List.copyOf(points);
    }

    @Override
    public void close() {
        clock.shutdownNow();
        synchronized (this) {
            points.add(now());
        }
    }
}
