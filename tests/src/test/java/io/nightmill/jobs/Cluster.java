package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** A real standalone master and workers, each a JVM of its own on loopback, from the assembled Spark home. */
final class Cluster implements AutoCloseable {
    private static final Pattern EXECUTOR = Pattern.compile("/work\\d+/app-[^/]+/\\d+$");
    /** Spark's classes as the first job on one core found and checked them; later JVMs map them, which spares each of them seconds. */
    private static final Path CLASSES = Jobs.ROOT.resolve("tests/target/spark.jsa");
    /**
     * Such classes are taken only by JVMs of the same class path, and with no files in its folders. So daemons log as Spark does by itself,
     * which tells that they have started.
     */
    private static final Path NO_SETTINGS = Jobs.ROOT.resolve("tests/target/no-settings");

    private static final Pattern MASTER = Pattern.compile("Starting Spark master at (spark://\\S+)");

    private final Path logs;
    private final Map<String, String> workerEnvironment;
    private final List<Process> processes = new ArrayList<>();
    private final String home;
    private final String master;

    private Cluster(Path logs, int workers, int smallDiskKb, Map<String, String> workerEnvironment)
            throws IOException, InterruptedException {
        this.logs = logs;
        this.workerEnvironment = workerEnvironment;
        this.home = sparkHome();
        start(
                "master",
                List.of(),
                "org.apache.spark.deploy.master.Master",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--webui-port",
                "0");
        master = waitFor("master", MASTER);
        waitFor("master", Pattern.compile("(New state: ALIVE)"));
        for (int i = 0; i < workers; i++) {
            Path local = Files.createDirectories(local(i));
            // The last worker's disk may be a small one of its own.
            boolean small = smallDiskKb > 0 && i == workers - 1;
            String mount = "mount -t tmpfs -o size=%dk tmpfs %s && exec \"$0\" \"$@\"".formatted(smallDiskKb, local);
            start(
                    "worker" + i,
                    small ? List.of("unshare", "-rm", "sh", "-c", mount) : List.of(),
                    "org.apache.spark.deploy.worker.Worker",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    "0",
                    "--webui-port",
                    "0",
                    "--cores",
                    "1",
                    "--memory",
                    "2g",
                    "--work-dir",
                    logs.resolve("work" + i).toString(),
                    master);
            waitFor("worker" + i, Pattern.compile("(Successfully registered with master)"));
        }
    }

    static Cluster start(Path logs, int workers) throws IOException, InterruptedException {
        return new Cluster(logs, workers, 0, Map.of());
    }

    /** Of two workers, the second of which has so little disk for what Spark keeps. */
    static Cluster withSmallDisk(Path logs, int kilobytes) throws IOException, InterruptedException {
        return new Cluster(logs, 2, kilobytes, Map.of());
    }

    /** Two workers, each of which takes PoCL for its GPU. */
    static Cluster withDevices(Path logs) throws IOException, InterruptedException {
        String script = Jobs.ROOT.resolve("conf/gpu-discovery").toString();
        String options = "-Dspark.worker.resource.gpu.amount=1 -Dspark.worker.resource.gpu.discoveryScript=" + script;
        return new Cluster(logs, 2, 0, Map.of("SPARK_WORKER_OPTS", options, "NIGHTMILL_DEVICES", "all"));
    }

    /** Where a worker's executors keep blocks. */
    Path local(int worker) {
        return logs.resolve("local" + worker);
    }

    static String sparkHome() throws IOException, InterruptedException {
        Process assemble = new ProcessBuilder(
                        Jobs.ROOT.resolve("conf/spark-home/assemble").toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        String home =
                new String(assemble.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8).trim();
        assertThat(assemble.waitFor()).isZero();
        return home;
    }

    private void start(String name, List<String> before, String... command) throws IOException {
        List<String> all = new ArrayList<>(before);
        all.add(home + "/bin/spark-class");
        all.addAll(List.of(command));
        ProcessBuilder builder = builder(all);
        // Daemons have little to do: what the better compiler would take is more than it would save.
        builder.environment().put("SPARK_DAEMON_JAVA_OPTS", "-XX:TieredStopAtLevel=1");
        builder.environment().put("SPARK_DAEMON_MEMORY", "256m");
        if (name.startsWith("worker")) {
            String local =
                    local(Integer.parseInt(name.substring("worker".length()))).toString();
            builder.environment().put("SPARK_LOCAL_DIRS", local);
            builder.environment().putAll(workerEnvironment);
        }
        builder.redirectErrorStream(true).redirectOutput(log(name));
        processes.add(builder.start());
    }

    private static String javaOptions(String master) {
        String options = "-XX:+UseSerialGC -Dlog4j2.configurationFile=" + Jobs.ROOT.resolve("conf/log4j2.properties");
        if (Files.exists(CLASSES)) {
            options += " -XX:SharedArchiveFile=" + CLASSES;
        } else if (master.startsWith("local")) {
            options += " -Xlog:disable -XX:ArchiveClassesAtExit=" + CLASSES;
        }
        return options;
    }

    private ProcessBuilder builder(List<String> command) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().put("SPARK_HOME", home);
        builder.environment()
                .put("SPARK_CONF_DIR", Files.createDirectories(NO_SETTINGS).toString());
        builder.environment().put("SPARK_SCALA_VERSION", "2.13");
        builder.environment().put("SPARK_LOCAL_IP", "127.0.0.1");
        return builder;
    }

    private File log(String name) {
        return logs.resolve(name + ".log").toFile();
    }

    private String waitFor(String name, Pattern pattern) throws IOException, InterruptedException {
        Instant end = Instant.now().plus(Duration.ofMinutes(2));
        while (Instant.now().isBefore(end)) {
            Matcher matcher = pattern.matcher(Files.readString(log(name).toPath()));
            if (matcher.find()) {
                return matcher.group(1);
            }
            Thread.sleep(100);
        }
        throw new AssertionError(
                name + " did not start: " + Files.readString(log(name).toPath()));
    }

    String master() {
        return master;
    }

    /** Starts Spark's own submit of the packaged jar. */
    Process submit(String name, String master, List<String> sparkArgs, List<String> args) throws IOException {
        String options = javaOptions(master);
        List<String> command = new ArrayList<>(List.of(
                home + "/bin/spark-submit",
                "--master",
                master,
                "--driver-memory",
                "1g",
                "--conf",
                "spark.executor.memory=1g",
                "--conf",
                "spark.ui.enabled=false",
                // A job of seconds would be compiled for longer than it runs.
                "--conf",
                "spark.sql.codegen.wholeStage=false",
                "--conf",
                "spark.sql.codegen.factoryMode=NO_CODEGEN",
                "--conf",
                "spark.driver.defaultJavaOptions=" + options,
                "--conf",
                "spark.executor.defaultJavaOptions=" + options));
        command.addAll(sparkArgs);
        command.add("--class");
        command.add("io.nightmill.jobs.Nightmill");
        command.add(Jobs.ROOT.resolve("jobs/target/nightmill-jobs-0.1.0.jar").toString());
        command.addAll(args);
        return builder(command)
                .redirectErrorStream(true)
                .redirectOutput(log(name))
                .start();
    }

    void await(String name, Process process) throws IOException, InterruptedException {
        assertThat(process.waitFor(5, TimeUnit.MINUTES)).as(name + " ended").isTrue();
        assertThat(process.exitValue())
                .as("%s: %s", name, Files.readString(log(name).toPath()))
                .isZero();
    }

    /** The executors that this cluster's workers have started. */
    List<ProcessHandle> executors() {
        return processes.stream()
                .flatMap(process -> process.toHandle().descendants())
                .filter(process -> process.info().commandLine().orElse("").contains("ExecutorBackend"))
                .toList();
    }

    /** How many executors the workers have made folders for, over all jobs. */
    long executorsSoFar() throws IOException {
        try (Stream<Path> folders = Files.find(
                logs,
                3,
                (path, it) ->
                        it.isDirectory() && EXECUTOR.matcher(path.toString()).find())) {
            return folders.count();
        }
    }

    /** A machine that is gone: a worker and what it started. */
    void killWorker() {
        ProcessHandle worker = processes.get(1).toHandle();
        worker.descendants().forEach(ProcessHandle::destroyForcibly);
        worker.destroyForcibly();
    }

    @Override
    public void close() {
        for (Process process : processes) {
            process.toHandle().descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
    }
}
