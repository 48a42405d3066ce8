package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The packaged jar on a real standalone cluster gives the same table as on one core, bit for bit, whatever happens. */
class ClusterIT {
    @TempDir
    static Path temp;

    /** So that each executor keeps something of a small input. */
    private static final List<String> MANY_PARTITIONS = List.of(
            "--conf", "spark.sql.files.maxPartitionBytes=1k",
            "--conf", "spark.sql.files.openCostInBytes=1",
            "--conf", "spark.sql.adaptive.coalescePartitions.enabled=false",
            "--conf", "spark.sql.shuffle.partitions=8");

    private static Cluster cluster;

    @BeforeAll
    static void start() throws IOException, InterruptedException {
        cluster = Cluster.start(temp, 2);
    }

    @AfterAll
    static void stop() {
        cluster.close();
    }

    /** Rows of mixed lengths, some of which cannot run. */
    private static Path input(String name, int rows, int vocabulary) throws IOException {
        Random random = new Random(7);
        List<ObjectNode> all = new ArrayList<>();
        for (int i = 0; i < rows; i++) {
            int[] ids = random.ints(1 + random.nextInt(60), 3, vocabulary).toArray();
            ObjectNode row = Jobs.row().put("id", "row-" + i).put("max_tokens", 1 + random.nextInt(40));
            if (i % 17 == 3) {
                ids[0] = vocabulary + 5;
            }
            row.set("prompt_token_ids", Jobs.array(ids));
            all.add(row);
        }
        return Jobs.jsonl(temp.resolve(name), all);
    }

    private static List<String> generate(Path model, Path input, Path output) {
        return Jobs.args(
                "generate",
                model,
                input,
                output,
                "--output-format",
                "jsonl",
                "--temperature",
                "0.9",
                "--top-p",
                "0.95",
                "--n",
                "2",
                "--seed",
                "11",
                "--logprobs",
                "2",
                "--kv-memory",
                "16m",
                "--shard-tokens",
                "500",
                "--keep-columns",
                "max_tokens");
    }

    @Test
    void clusterMatchesOneCore() throws IOException, InterruptedException {
        Path model = Jobs.SHARED.resolve("golden/qwen3_moe");
        Path input = input("mixed.jsonl", 80, 256);
        Path one = temp.resolve("one-core");
        Path many = temp.resolve("two-workers");
        cluster.await("one-core", cluster.submit("one-core", "local[1]", List.of(), generate(model, input, one)));
        cluster.await(
                "two-workers",
                cluster.submit("two-workers", cluster.master(), List.of(), generate(model, input, many)));

        assertThat(Jobs.withoutTiming(many)).hasSize(80).isEqualTo(Jobs.withoutTiming(one));
        assertThat(Jobs.report(many).at("/rows/error").asInt()).isEqualTo(5);
        assertThat(Jobs.report(many).at("/rows/in").asInt()).isEqualTo(80);
        assertThat(Jobs.report(many).path("shards").asInt()).isGreaterThan(4);
    }

    private interface Strike {
        void at(Cluster cluster) throws IOException, InterruptedException;
    }

    /** What befalls a long run in its middle must not show in its table. */
    private static Path outlives(String name, Cluster on, List<String> sparkArgs, Strike strike)
            throws IOException, InterruptedException {
        Path model = Jobs.ROOT.resolve("conf/demo/stories-hybrid-moe");
        List<String> more =
                List.of("--max-tokens", "150", "--ignore-eos", "--temperature", "0.7", "--shard-tokens", "3000");
        Path input = temp.resolve("stories.jsonl");
        Path calm = temp.resolve("undisturbed");
        if (!Files.exists(calm)) {
            List<ObjectNode> rows = new ArrayList<>();
            for (int i = 0; i < 160; i++) {
                rows.add(Jobs.row().put("id", "story-" + i).put("prompt", "Once upon a time there were " + i));
            }
            Jobs.jsonl(input, rows);
            List<String> args = stories(model, input, calm, more);
            cluster.await("undisturbed", cluster.submit("undisturbed", "local[2]", List.of(), args));
        }
        Path output = temp.resolve(name);
        Process job = on.submit(name, on.master(), sparkArgs, stories(model, input, output, more));
        Instant end = Instant.now().plus(Duration.ofMinutes(2));
        while (!(on.executors().size() == 2 && hasOutput(output))
                && Instant.now().isBefore(end)) {
            Thread.sleep(50);
        }
        assertThat(on.executors()).hasSize(2);
        assertThat(job.isAlive()).isTrue();
        strike.at(on);
        on.await(name, job);
        assertThat(Jobs.withoutTiming(output)).hasSize(160).isEqualTo(Jobs.withoutTiming(calm));
        assertThat(Jobs.report(output).at("/rows/ok").asInt()).isEqualTo(160);
        return temp.resolve(name + ".log");
    }

    @Test
    void killedExecutorCostsNoRow() throws IOException, InterruptedException {
        Path log = outlives("killed-executor", cluster, List.of(), on -> assertThat(
                        on.executors().get(0).destroyForcibly())
                .isTrue());
        assertThat(Files.readString(log)).contains("Lost executor");
    }

    @Test
    void lostWorkerCostsNoRow() throws IOException, InterruptedException {
        Path logs = Files.createDirectories(temp.resolve("other-cluster"));
        try (Cluster other = Cluster.start(logs, 2)) {
            outlives("lost-worker", other, List.of(), Cluster::killWorker);
            assertThat(Files.readString(logs.resolve("lost-worker.log"))).contains("Lost executor");
        }
    }

    @Test
    void hungExecutorCostsNoRow() throws IOException, InterruptedException {
        List<String> impatient = List.of(
                "--conf", "spark.executor.heartbeatInterval=2s",
                "--conf", "spark.network.timeout=12s",
                "--conf", "spark.network.timeoutInterval=2s");
        ProcessHandle[] hung = new ProcessHandle[1];
        Path log = outlives("hung-executor", cluster, impatient, on -> {
            hung[0] = on.executors().get(0);
            signal("STOP", hung[0]);
        });
        hung[0].destroyForcibly();
        assertThat(Files.readString(log)).contains("heartbeat");
    }

    @Test
    void decommissionedExecutorCostsNoRow() throws IOException, InterruptedException {
        Path log = outlives(
                "decommissioned",
                cluster,
                List.of(
                        "--conf",
                        "spark.decommission.enabled=true",
                        "--conf",
                        "spark.storage.decommission.enabled=true"),
                on -> signal("PWR", on.executors().get(0)));
        assertThat(Files.readString(log)).containsIgnoringCase("decommission");
    }

    private static void signal(String name, ProcessHandle process) throws IOException, InterruptedException {
        assertThat(new ProcessBuilder("kill", "-" + name, String.valueOf(process.pid()))
                        .start()
                        .waitFor())
                .isZero();
    }

    /** Bytes of what the planner keeps and of what went through the shuffle turn on disk; the executors are as good as before. */
    @Test
    void corruptBlocksAreMadeAnew() throws IOException, InterruptedException {
        long[] executors = new long[1];
        Path log = outlives("corrupt", cluster, MANY_PARTITIONS, on -> {
            executors[0] = on.executorsSoFar();
            int corrupted = 0;
            for (int worker = 0; worker < 2; worker++) {
                try (Stream<Path> files = Files.walk(on.local(worker))) {
                    for (Path file : files.filter(ClusterIT::isBlock).toList()) {
                        byte[] bytes = Files.readAllBytes(file);
                        for (int i = bytes.length / 3; i < bytes.length; i += 97) {
                            bytes[i] ^= 0x55;
                        }
                        Files.write(file, bytes);
                        corrupted++;
                    }
                }
            }
            assertThat(corrupted).isGreaterThan(2);
        });
        assertThat(Files.readString(log)).containsAnyOf("FetchFailed", "Cannot read rows");
        assertThat(cluster.executorsSoFar()).isEqualTo(executors[0]);
    }

    private static boolean isBlock(Path file) {
        String name = file.getFileName().toString();
        return Files.isRegularFile(file)
                && (name.startsWith("rdd_") || name.startsWith("shuffle_") && name.endsWith(".data"));
    }

    @Test
    void fullDiskCostsNoRow() throws IOException, InterruptedException {
        Process trial =
                new ProcessBuilder("unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=8k tmpfs /mnt").start();
        assumeTrue(trial.waitFor() == 0, "this machine lets nobody mount a small disk (unshare -rm)");
        Path logs = Files.createDirectories(temp.resolve("small-disk"));
        try (Cluster other = Cluster.withSmallDisk(logs, 8)) {
            // Else the jar itself would have to fit.
            List<String> conf = new ArrayList<>(MANY_PARTITIONS);
            conf.addAll(List.of("--conf", "spark.files.useFetchCache=false"));
            outlives("full-disk", other, conf, on -> {});
            assertThat(Files.readString(logs.resolve("full-disk.log"))).contains("No space left on device");
        }
    }

    @Test
    void speculativeCopiesCountOnce() throws IOException, InterruptedException {
        List<String> eager = List.of(
                "--conf", "spark.speculation=true",
                "--conf", "spark.speculation.quantile=0.1",
                "--conf", "spark.speculation.multiplier=1.01",
                "--conf", "spark.speculation.interval=50ms",
                "--conf", "spark.speculation.minTaskRuntime=0ms");
        Path log = outlives("speculation", cluster, eager, on -> {});
        assertThat(Files.readString(log)).containsIgnoringCase("speculat");
    }

    /** Whenever the driver dies, the table can be read, and the next run goes on from there. */
    @Test
    void killedDriverCostsAnInterval() throws IOException, InterruptedException {
        Path model = Jobs.SHARED.resolve("golden/granitemoehybrid");
        int kills = Integer.getInteger("nightmill.kills", 3);
        int count = 60 * kills;
        Path input = input("nightly.jsonl", count, 256);
        Path calm = temp.resolve("calm");
        Path killed = temp.resolve("nightly");
        List<String> resumed = new ArrayList<>(generate(model, input, killed));
        resumed.addAll(List.of("--checkpoint-interval", "25"));
        cluster.await("calm", cluster.submit("calm", "local[1]", List.of(), generate(model, input, calm)));
        int before = 0;
        int struck = 0;
        Random random = new Random(Long.getLong("nightmill.seed", 3));
        for (int kill = 0; kill < kills; kill++) {
            String name = "nightly-" + kill;
            Process job = cluster.submit(name, cluster.master(), List.of(), resumed);
            int rows = before;
            Instant end = Instant.now().plus(Duration.ofMinutes(2));
            while (rows <= before && job.isAlive() && Instant.now().isBefore(end)) {
                Thread.sleep(20);
                rows = visible(killed);
            }
            Thread.sleep(random.nextInt(1500));
            struck += job.isAlive() ? 1 : 0;
            job.destroyForcibly().waitFor();
            // Each row is there once, and whole.
            int after = Jobs.results(killed).size();
            assertThat(after).isGreaterThanOrEqualTo(before);
            before = after;
        }
        assertThat(struck).as("runs killed in their middle").isGreaterThan(kills / 2);
        cluster.await("nightly-last", cluster.submit("nightly-last", cluster.master(), List.of(), resumed));
        assertThat(Jobs.withoutTiming(killed)).hasSize(count).isEqualTo(Jobs.withoutTiming(calm));
    }

    /** Rows of a table that somebody is writing: a file may go between being listed and being read. */
    private static int visible(Path output) throws IOException {
        try {
            return Files.exists(output) ? Jobs.results(output).size() : 0;
        } catch (UncheckedIOException e) {
            return 0;
        }
    }

    private static List<String> stories(Path model, Path input, Path output, List<String> more) {
        List<String> args = Jobs.args("generate", model, input, output, "--output-format", "jsonl");
        args.addAll(more);
        return args;
    }

    /** Whether a task has begun to write: then both executors are at work. */
    private static boolean hasOutput(Path output) {
        return Files.exists(output.resolve("_temporary/0"));
    }
}
