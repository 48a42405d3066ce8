package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/** What takes too long for every build: {@code ./mvnw -Psoak -pl tests verify -Dit.test=SoakIT}. */
@EnabledIfSystemProperty(named = "nightmill.rows", matches = "\\d+", disabledReason = "runs in -Psoak")
class SoakIT {
    @TempDir
    Path temp;

    /** Many short rows: what driver and executor hold does not grow with what is done. */
    @Test
    void memoryIsFlat() throws IOException, InterruptedException {
        int count = Integer.getInteger("nightmill.rows");
        Path input = temp.resolve("rows.jsonl");
        try (BufferedWriter out = Files.newBufferedWriter(input)) {
            for (int i = 0; i < count; i++) {
                out.write(Jobs.row().put("id", "row-" + i).put("prompt", "Tom had " + i + " cats") + "\n");
            }
        }
        Path output = temp.resolve("out");
        try (Cluster cluster = Cluster.start(temp, 1)) {
            List<String> args = Jobs.args(
                    "generate",
                    Jobs.SHARED.resolve("real/stories260K.gguf"),
                    input,
                    output,
                    "--max-tokens",
                    "6",
                    "--checkpoint-interval",
                    String.valueOf(count / 10),
                    "--kv-memory",
                    "64m");
            Process job = cluster.submit("soak", cluster.master(), List.of(), args);
            // Rows written so far, and what driver and executor hold then.
            List<long[]> live = new ArrayList<>();
            while (!job.waitFor(4, TimeUnit.SECONDS)) {
                List<ProcessHandle> executors = cluster.executors();
                if (!executors.isEmpty()) {
                    long[] now = {done(output), liveBytes(job.toHandle()), liveBytes(executors.get(0))};
                    if (now[1] > 0 && now[2] > 0) {
                        live.add(now);
                    }
                }
            }
            cluster.await("soak", job);
            assertThat(Jobs.report(output).at("/rows/ok").asInt()).isEqualTo(count);
            System.err.println("rows written | driver's live MB | executor's live MB");
            live.forEach(
                    now -> System.err.printf(Locale.ROOT, "%d | %.1f | %.1f%n", now[0], now[1] / 1e6, now[2] / 1e6));
            System.err.printf("seconds: %s%n", Jobs.report(output).at("/seconds/infer_and_write"));
            assertThat(live.size()).isGreaterThan(6);
            for (int who = 1; who <= 2; who++) {
                long early = live.get(live.size() / 3)[who];
                long late = live.get(live.size() - 1)[who];
                assertThat(late).isLessThan((long) (1.3 * early) + 20_000_000);
            }
        }
    }

    private static long done(Path output) throws IOException {
        Path manifest = output.resolve("_nightmill/manifest.json");
        try {
            JsonNode json = Jobs.MAPPER.readTree(Files.readString(manifest));
            return json.at("/rows/ok").asLong();
        } catch (java.nio.file.NoSuchFileException e) {
            return 0;
        }
    }

    /** What is reachable in a JVM, by a histogram that collects garbage first. */
    private static long liveBytes(ProcessHandle process) throws IOException, InterruptedException {
        Process histogram = new ProcessBuilder("jcmd", String.valueOf(process.pid()), "GC.class_histogram").start();
        String text = new String(histogram.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        histogram.waitFor();
        // A process that has just ended says nothing.
        int total = text.lastIndexOf("Total");
        return total < 0 ? 0 : Long.parseLong(text.substring(total).strip().split("\\s+")[2]);
    }
}
