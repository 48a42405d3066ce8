package io.nightmill.jobs;

import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.Peaks;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What the engine reaches without Spark around it, beside what the machine can do: the tables of BENCHMARKS.md. */
@Command(name = "bench", description = "Measures engine and kernels on random weights in real shapes.")
final class BenchJob implements Callable<Integer> {
    enum Part {
        MODELS,
        CONTEXT,
        KERNELS
    }

    @Option(names = "--threads", defaultValue = "0", description = "(default: all cores)")
    private int threads;

    @Option(names = "--only", split = ",", description = "some of the tables: ${COMPLETION-CANDIDATES} (default: all)")
    private List<Part> parts = Arrays.asList(Part.values());

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

    /** What the machine reached just now: operations and bytes per second. */
    record Machine(int threads, double flops, double bandwidth) {}

    @Override
    public Integer call() {
        int used = threads > 0 ? threads : Runtime.getRuntime().availableProcessors();
        Peaks.flops(used);
        Machine machine = new Machine(used, Peaks.flops(used), Peaks.readBandwidth(used));
        System.out.printf(
                Locale.ROOT,
                "%d threads, %s: %.0f GFLOP/s of multiply-adds in registers, %.1f GB/s read from memory%n",
                used,
                new HostBackend(1).name(),
                machine.flops / 1e9,
                machine.bandwidth / 1e9);
        if (parts.contains(Part.MODELS)) {
            new ModelBench(machine, promptTokens, decodeTokens).run();
        }
        if (parts.contains(Part.CONTEXT)) {
            new ContextBench(machine, contexts, prefills).run();
        }
        if (parts.contains(Part.KERNELS)) {
            new KernelBench(machine).run();
        }
        return 0;
    }
}
