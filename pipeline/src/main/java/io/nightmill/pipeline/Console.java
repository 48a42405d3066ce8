package io.nightmill.pipeline;

import io.nightmill.pipeline.NightmillPlugin.Progress;
import io.nightmill.pipeline.RunMonitor.Snapshot;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** One live block on a terminal, drawn over itself. Silent where there is no terminal (unless NIGHTMILL_PROGRESS=1). */
final class Console {
    private static final int WIDTH = 30;

    private final PrintStream out = System.err;
    private final boolean draws = System.console() != null || "1".equals(System.getenv("NIGHTMILL_PROGRESS"));
    private int drawn;

    synchronized void draw(Snapshot now) {
        if (!draws) {
            return;
        }
        StringBuilder text = new StringBuilder();
        if (drawn > 0) {
            text.append("\u001b[").append(drawn).append("A");
        }
        List<String> lines = lines(now);
        // To the end of each line there may be something older.
        lines.forEach(line -> text.append("\r").append(line).append("\u001b[K\n"));
        text.append("\u001b[J");
        drawn = lines.size();
        out.print(text);
        out.flush();
    }

    static List<String> lines(Snapshot now) {
        int filled = now.allRows() == 0 ? WIDTH : (int) (now.rows() * WIDTH / now.allRows());
        double left = now.secondsLeft();
        List<String> lines = new ArrayList<>();
        lines.add(String.format(
                Locale.ROOT,
                "[%s%s] %d/%d rows  %s%s",
                "#".repeat(filled),
                "-".repeat(WIDTH - filled),
                now.rows(),
                now.allRows(),
                duration(now.seconds()),
                left < 0 ? "" : "  ETA " + duration(left)));
        int pages = now.percentUsed(Progress::pages, Progress::freePages);
        int slots = now.percentUsed(Progress::slots, Progress::freeSlots);
        lines.add(String.format(
                Locale.ROOT,
                "%.0f tok/s in (%d %% from shared beginnings)  %.0f tok/s out  %d running  %d waiting%s%s",
                now.promptTokens() / now.seconds(),
                100 * now.cachedTokens() / Math.max(1, now.promptTokens()),
                now.completionTokens() / now.seconds(),
                now.sum(Progress::running),
                now.sum(Progress::waiting),
                pages < 0 ? "" : "  KV " + pages + "%",
                slots < 0 ? "" : "  states " + slots + "%"));
        if (!now.errors().isEmpty()) {
            lines.add(now.errors().entrySet().stream()
                    .map(error -> error.getKey() + " " + error.getValue())
                    .collect(Collectors.joining(", ", "failed: ", "")));
        }
        return lines;
    }

    static String duration(double seconds) {
        long whole = Math.round(seconds);
        return whole < 60
                ? whole + "s"
                : whole < 3600
                        ? "%dm%02ds".formatted(whole / 60, whole % 60)
                        : "%dh%02dm".formatted(whole / 3600, whole % 3600 / 60);
    }
}
