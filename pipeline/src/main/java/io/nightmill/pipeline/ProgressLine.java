package io.nightmill.pipeline;

import io.nightmill.pipeline.NightmillPlugin.Progress;
import java.io.PrintStream;
import java.util.Collection;
import java.util.Locale;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** One line on the terminal, redrawn every second: rows, tokens per second, and what the engines hold. */
final class ProgressLine implements AutoCloseable {
    private static final int WIDTH = 30;

    private final long rows;
    private final RunCounters counters;
    private final long start = System.nanoTime();
    private final PrintStream out = System.err;
    private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "nightmill-console");
        thread.setDaemon(true);
        return thread;
    });

    private ProgressLine(long rows, RunCounters counters) {
        this.rows = rows;
        this.counters = counters;
    }

    /** Draws where there is a terminal (or NIGHTMILL_PROGRESS=1), and is silent elsewhere. */
    static ProgressLine start(long rows, RunCounters counters) {
        ProgressLine line = new ProgressLine(rows, counters);
        if (draws()) {
            line.clock.scheduleAtFixedRate(line::draw, 1, 1, TimeUnit.SECONDS);
        }
        return line;
    }

    private static boolean draws() {
        return System.console() != null || "1".equals(System.getenv("NIGHTMILL_PROGRESS"));
    }

    private void draw() {
        out.print("\r" + done() + load());
        out.flush();
    }

    /** Rows and rates. The executors' messages come while tasks run, Spark's accumulators when they end. */
    private String done() {
        long done = counters.rows().value();
        long prompt = counters.promptTokens().value();
        long completion = counters.completionTokens().value();
        Collection<Progress> executors = NightmillPlugin.latest().values();
        done = Math.max(done, executors.stream().mapToLong(Progress::finished).sum());
        prompt = Math.max(
                prompt, executors.stream().mapToLong(Progress::promptTokens).sum());
        completion = Math.max(
                completion,
                executors.stream().mapToLong(Progress::completionTokens).sum());
        double seconds = (System.nanoTime() - start) / 1e9;
        int filled = rows == 0 ? WIDTH : (int) Math.min(WIDTH, done * WIDTH / rows);
        return String.format(
                Locale.ROOT,
                "[%s%s] %d/%d rows  %.0f tok/s in  %.0f tok/s out  ",
                "#".repeat(filled),
                "-".repeat(WIDTH - filled),
                Math.min(done, rows),
                rows,
                prompt / seconds,
                completion / seconds);
    }

    /** What the engines hold. */
    private static String load() {
        Collection<Progress> executors = NightmillPlugin.latest().values();
        long pages = executors.stream().mapToLong(Progress::pages).sum();
        long free = executors.stream().mapToLong(Progress::freePages).sum();
        long slots = executors.stream().mapToLong(Progress::slots).sum();
        long freeSlots = executors.stream().mapToLong(Progress::freeSlots).sum();
        String kv = pages == 0 ? "" : "KV " + 100 * (pages - free) / pages + "%  ";
        String states = slots == 0 ? "" : "states " + 100 * (slots - freeSlots) / slots + "%  ";
        return String.format(
                Locale.ROOT,
                "%d running  %d waiting  %s%s",
                executors.stream().mapToInt(Progress::running).sum(),
                executors.stream().mapToInt(Progress::waiting).sum(),
                kv,
                states);
    }

    @Override
    public void close() {
        clock.shutdownNow();
        if (draws()) {
            out.println("\r" + done() + " ".repeat(40));
        }
    }
}
