package io.nightmill.pipeline;

import java.io.PrintStream;
import java.util.Locale;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** One line on the terminal, redrawn every second: rows, tokens per second, and what the engines hold. */
final class ProgressLine implements AutoCloseable {
    private static final int WIDTH = 30;

    private final long rows;
    private final long start = System.nanoTime();
    private final PrintStream out = System.err;
    private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "nightmill-console");
        thread.setDaemon(true);
        return thread;
    });

    private ProgressLine(long rows) {
        this.rows = rows;
    }

    /** Draws where there is a terminal (or NIGHTMILL_PROGRESS=1), and is silent elsewhere. */
    static ProgressLine start(long rows) {
        ProgressLine line = new ProgressLine(rows);
        if (System.console() != null || "1".equals(System.getenv("NIGHTMILL_PROGRESS"))) {
            line.clock.scheduleAtFixedRate(() -> line.draw("\r"), 1, 1, TimeUnit.SECONDS);
        }
        return line;
    }

    private void draw(String before) {
        long done = 0;
        long prompt = 0;
        long completion = 0;
        int running = 0;
        int waiting = 0;
        long pages = 0;
        long free = 0;
        for (NightmillPlugin.Progress progress : NightmillPlugin.latest().values()) {
            done += progress.finished();
            prompt += progress.promptTokens();
            completion += progress.completionTokens();
            running += progress.running();
            waiting += progress.waiting();
            pages += progress.pages();
            free += progress.freePages();
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        int filled = rows == 0 ? WIDTH : (int) Math.min(WIDTH, done * WIDTH / rows);
        out.printf(
                Locale.ROOT,
                "%s[%s%s] %d/%d rows  %.0f tok/s in  %.0f tok/s out  %d running  %d waiting  KV %d%%  ",
                before,
                "#".repeat(filled),
                "-".repeat(WIDTH - filled),
                done,
                rows,
                prompt / seconds,
                completion / seconds,
                running,
                waiting,
                pages == 0 ? 0 : 100 * (pages - free) / pages);
        out.flush();
    }

    @Override
    public void close() {
        clock.shutdownNow();
        if (System.console() != null || "1".equals(System.getenv("NIGHTMILL_PROGRESS"))) {
            draw("\r");
            out.println();
        }
    }
}
