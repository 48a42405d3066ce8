package io.nightmill.pipeline;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Map;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * {@code _nightmill/manifest.json} of an output: how far its last run came. The rows themselves say which of them are done, by
 * their fingerprints; this says so to people, and that the output may be resumed.
 */
public final class Manifest {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final String PARTIAL = ".partial";

    private final Path file;
    private final ObjectNode json;
    private final ObjectNode rows;
    private final ObjectNode tokens;
    private final ObjectNode shards;

    /** @param kept rows that earlier runs have finished */
    Manifest(RunConfig config, long in, long kept, int shardCount) {
        this.file = file(config.output());
        this.json = MAPPER.createObjectNode();
        json.put("state", "running")
                .put("started", Instant.now().toString())
                .put("updated", Instant.now().toString());
        json.put("model", config.model().path()).put("input", config.input());
        json.put("output_format", config.outputFormat());
        this.rows = json.putObject("rows");
        rows.put("in", in).put("ok", kept).put("kept", kept).put("remaining", in - kept);
        rows.putObject("errors");
        this.tokens = json.putObject("tokens");
        tokens.put("prompt", 0).put("completion", 0);
        this.shards = json.putObject("shards");
        shards.put("count", shardCount).put("done", 0);
        shards.putObject("attempts");
    }

    private static Path file(String output) {
        return new Path(new Path(output, "_nightmill"), "manifest.json");
    }

    /** Whether an output has one. */
    static boolean exists(String output) {
        try {
            Path path = file(output);
            FileSystem files = path.getFileSystem(Tables.hadoop());
            return files.exists(path) || files.exists(path.suffix(PARTIAL));
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot look at " + output, e);
        }
    }

    /** @throws IllegalArgumentException if the output has none */
    public static ObjectNode read(String output) {
        Path path = file(output);
        try {
            FileSystem files = path.getFileSystem(Tables.hadoop());
            // A run that died between removing the old one and renaming the new.
            Path found = files.exists(path) ? path : path.suffix(PARTIAL);
            if (!files.exists(found)) {
                throw new IllegalArgumentException(
                        "Cannot read %s: there is no such file, so no run has written to %s".formatted(path, output));
            }
            try (InputStream in = files.open(found)) {
                return (ObjectNode) MAPPER.readTree(in);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read " + path, e);
        }
    }

    /** Notes what the run has done so far. */
    void update(RunCounters counters, int shardsDone) {
        long kept = rows.path("kept").asLong();
        Map<String, Long> errors = counters.errors();
        long failed = errors.values().stream().mapToLong(Long::longValue).sum();
        long done = counters.rows().value();
        rows.put("ok", kept + done - failed);
        rows.put("remaining", rows.path("in").asLong() - kept - done);
        ObjectNode codes = rows.putObject("errors");
        errors.forEach(codes::put);
        tokens.put("prompt", counters.promptTokens().value());
        tokens.put("completion", counters.completionTokens().value());
        shards.put("done", shardsDone);
        ObjectNode attempts = shards.putObject("attempts");
        counters.shards().value().forEach((shard, run) -> {
            if (run.attempts() > 1) {
                attempts.put(shard.toString(), run.attempts());
            }
        });
        write();
    }

    void complete() {
        json.put("state", "complete");
        write();
    }

    /** Takes the place of the old one; not every file system can rename over a file. */
    void write() {
        json.put("updated", Instant.now().toString());
        Path partial = file.suffix(PARTIAL);
        try {
            FileSystem files = file.getFileSystem(Tables.hadoop());
            try (OutputStream out = files.create(partial, true)) {
                out.write(json.toPrettyString().getBytes(StandardCharsets.UTF_8));
            }
            files.delete(file, false);
            if (!files.rename(partial, file)) {
                throw new IOException("Cannot rename " + partial);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot write " + file, e);
        }
    }

    /** An output's manifest for people. */
    public static String describe(ObjectNode json) {
        StringBuilder text = new StringBuilder();
        text.append("%s since %s, last change %s%n"
                .formatted(
                        json.path("state").asText(),
                        json.path("started").asText(),
                        json.path("updated").asText()));
        text.append("rows      %s of %s ok (%s from earlier runs), %s remaining%n"
                .formatted(
                        json.at("/rows/ok"), json.at("/rows/in"), json.at("/rows/kept"), json.at("/rows/remaining")));
        json.at("/rows/errors")
                .properties()
                .forEach(error -> text.append("failed    %s: %s%n".formatted(error.getKey(), error.getValue())));
        text.append("tokens    %s prompt, %s completion, in this run%n"
                .formatted(json.at("/tokens/prompt"), json.at("/tokens/completion")));
        text.append("shards    %s of %s done%n".formatted(json.at("/shards/done"), json.at("/shards/count")));
        json.at("/shards/attempts")
                .properties()
                .forEach(shard -> text.append("shard %s   %s attempts%n".formatted(shard.getKey(), shard.getValue())));
        return text.toString();
    }
}
