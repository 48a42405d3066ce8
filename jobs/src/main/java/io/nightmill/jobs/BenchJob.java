package io.nightmill.jobs;

import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.Peaks;
import io.nightmill.runtime.DeviceSpec;
import io.nightmill.runtime.DeviceSpec.Kind;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.runtime.KernelSpeed;
import io.nightmill.weights.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What the engine reaches without Spark around it, beside what the machine can do: the tables of BENCHMARKS.md. */
@Command(name = "bench", description = "Measures engine and kernels on random weights in real shapes.")
final class BenchJob implements Callable<Integer> {
    enum Part {
        MODELS,
        CONTEXT,
        KERNELS,
        /** Only of models that are named. */
        JOB,
        /** Only where a device is named. */
        DEVICE
    }

    @Option(names = "--threads", defaultValue = "0", description = "(default: all cores)")
    private int threads;

    @Option(
            names = "--device",
            defaultValue = "cpu",
            description = "of the models' and the device's tables: cpu, opencl or opencl:n (default: ${DEFAULT-VALUE})")
    private String device = "";

    @Option(names = "--only", split = ",", description = "some of the tables: ${COMPLETION-CANDIDATES} (default: all)")
    private List<Part> parts = Arrays.asList(Part.values());

    @Option(
            names = "--model",
            paramLabel = "PATH",
            description = "for the models' table, instead of random weights: a folder or a .gguf file; may be repeated")
    private List<Path> models = List.of();

    @Option(
            names = "--dtype",
            split = ",",
            defaultValue = "f32,bf16,int8,int4",
            description = "of the models' table (default: ${DEFAULT-VALUE})")
    private List<String> dtypes = List.of();

    @Option(
            names = "--batches",
            split = ",",
            defaultValue = "1,8,32,64,128",
            description = "rows that decode together, of the models' table (default: ${DEFAULT-VALUE})")
    private List<Integer> batches = List.of();

    @Option(
            names = "--prompt-tokens",
            defaultValue = "512",
            description = "of the models' table (default: ${DEFAULT-VALUE})")
    private int promptTokens;

    @Option(
            names = "--decode-tokens",
            defaultValue = "32",
            description = "of the models' table (default: ${DEFAULT-VALUE})")
    private int decodeTokens;

    @Option(names = "--profile", description = "prints the operations that took the most, behind each model's line")
    private boolean profile;

    @Option(names = "--rows", defaultValue = "256", description = "of the job's table (default: ${DEFAULT-VALUE})")
    private int rows;

    @Option(
            names = "--contexts",
            split = ",",
            defaultValue = "512,4096,16384,65536",
            description = "of the contexts' table (default: ${DEFAULT-VALUE})")
    private List<Integer> contexts = List.of();

    @Option(
            names = "--prefills",
            split = ",",
            defaultValue = "512,2048,8192",
            description = "prompt lengths of the contexts' table (default: ${DEFAULT-VALUE})")
    private List<Integer> prefills = List.of();

    /** By itself, on machines without Spark. */
    public static void main(String[] args) {
        Nightmill.exit(new BenchJob(), args);
    }

    /** What the machine reached just now: operations and bytes per second. */
    record Machine(int threads, double flops, double bandwidth) {}

    /** Forgets what measuring the machine took, where the system can (proc(5), clear_refs). */
    private static void forgetPeakMemory() {
        System.gc();
        try {
            Files.writeString(Path.of("/proc/self/clear_refs"), "5");
        } catch (IOException e) {
            System.err.println("Peak memory includes the machine's measurement: " + e.getMessage());
        }
    }

    /** The most memory that this process has held since, in bytes. */
    static long peakMemory() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
            return lines.filter(line -> line.startsWith("VmHWM:"))
                    .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("\\D", "")))
                    .findFirst()
                    .orElse(0);
        } catch (IOException e) {
            return 0;
        }
    }

    @Override
    public Integer call() throws IOException {
        int used = ExecutorRuntime.threads(threads);
        Peaks.flops(used);
        Machine machine = new Machine(used, Peaks.flops(used), Peaks.readBandwidth(used));
        DeviceSpec on = DeviceSpec.of(device, 0.9, "fail");
        List<Precision> precisions = dtypes.stream().map(Precision::of).toList();
        if (parts.contains(Part.MODELS)) {
            precisions.forEach(precision -> KernelSpeed.of(on, precision, used));
        }
        // What that was measured on is garbage, and would be counted among the memory that a model takes.
        System.gc();
        System.out.printf(
                Locale.ROOT,
                "%d threads, %s: %.0f GFLOP/s of multiply-adds in registers, %.1f GB/s read from memory%n",
                used,
                new HostBackend(1).name(),
                machine.flops / 1e9,
                machine.bandwidth / 1e9);
        forgetPeakMemory();
        if (parts.contains(Part.MODELS)) {
            List<BenchModel> shapes = models.isEmpty()
                    ? List.of(SyntheticModel.dense(), SyntheticModel.mixture(), SyntheticModel.hybrid())
                    : models.stream().<BenchModel>map(BenchModel.Stored::new).toList();
            new ModelBench(machine, on, precisions, promptTokens, decodeTokens, batches, profile).run(shapes);
        }
        if (parts.contains(Part.JOB) && !models.isEmpty()) {
            new JobBench(machine, precisions, rows, decodeTokens).run(models);
        }
        if (parts.contains(Part.CONTEXT)) {
            new ContextBench(machine, contexts, prefills).run();
        }
        if (parts.contains(Part.KERNELS)) {
            new KernelBench(machine).run();
        }
        if (parts.contains(Part.DEVICE) && on.kind() == Kind.OPENCL) {
            new DeviceBench(machine, on).run();
        }
        return 0;
    }
}
