package io.nightmill.jobs;

import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.Peaks;
import io.nightmill.models.Model;
import io.nightmill.models.ModelLoader;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.runtime.SamplingJson;
import io.nightmill.weights.Precision;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Tokens per second of the engine alone, beside what the machine can do. */
@Command(name = "bench", description = "Measures the engine on synthetic models of real shapes.")
final class BenchJob implements Callable<Integer> {
    @Option(
            names = "--models-dir",
            defaultValue = "/tmp/nightmill-bench",
            description = "where the models are written (default: ${DEFAULT-VALUE})")
    private Path modelsDir = Path.of("");

    @Option(names = "--threads", defaultValue = "0", description = "(default: all cores)")
    private int threads;

    @Option(names = "--prompt-tokens", defaultValue = "512", description = "(default: ${DEFAULT-VALUE})")
    private int promptTokens;

    @Option(names = "--decode-tokens", defaultValue = "32", description = "(default: ${DEFAULT-VALUE})")
    private int decodeTokens;

    @Override
    public Integer call() throws IOException {
        int used = threads > 0 ? threads : Runtime.getRuntime().availableProcessors();
        Peaks.flops(used);
        double flops = Peaks.flops(used);
        double bandwidth = Peaks.readBandwidth(used);
        System.out.printf(
                Locale.ROOT,
                "%d threads, %s: %.0f GFLOP/s of multiply-adds in registers, %.1f GB/s read from memory%n%n",
                used,
                new HostBackend(1).name(),
                flops / 1e9,
                bandwidth / 1e9);
        System.out.println(
                "| model | prefill tok/s | of peak FLOP/s | decode batch | tok/s | weights read, GB/s | of bandwidth |");
        System.out.println("|---|---|---|---|---|---|---|---|");
        for (SyntheticModel synthetic : List.of(SyntheticModel.DENSE, SyntheticModel.MOE)) {
            for (Precision precision : new Precision[] {Precision.F32, Precision.BF16}) {
                measure(synthetic, precision, used, flops, bandwidth);
            }
        }
        return 0;
    }

    private void measure(SyntheticModel synthetic, Precision precision, int used, double flops, double bandwidth)
            throws IOException {
        HostBackend backend = ExecutorRuntime.backend(precision, used);
        Model model = ModelLoader.load(synthetic.write(modelsDir), backend, precision);
        try (ContinuousEngine engine =
                new ContinuousEngine(backend, model.decoder(), null, Set.of(), 32768, new Limits(3L << 30, 64, 512))) {
            run(engine, 4, 64, 8);
            double prefill = 4.0 * promptTokens / run(engine, 4, promptTokens, 1);
            for (int batch : new int[] {1, 8, 32}) {
                double all = run(engine, batch, 128, decodeTokens + 1) - run(engine, batch, 128, 1);
                double decode = batch * decodeTokens / all;
                // At small batches every step reads all weights once; with experts, those that its tokens chose.
                double read = decode / batch * weightBytes(synthetic, model, batch);
                System.out.printf(
                        Locale.ROOT,
                        "| %s | %s | %.0f | %.0f%% | %d | %.1f | %.1f | %.0f%% |%n",
                        synthetic.name(),
                        backend.name(),
                        prefill,
                        100 * prefill * 2 * synthetic.activeParameters() / flops,
                        batch,
                        decode,
                        read / 1e9,
                        100 * read / bandwidth);
            }
        }
    }

    private static double weightBytes(SyntheticModel synthetic, Model model, int batch) {
        if (synthetic.experts() == 0) {
            return model.weightBytes();
        }
        double missed = Math.pow(1 - (double) synthetic.topK() / synthetic.experts(), batch);
        double experts = 2.0 * synthetic.layers() * synthetic.experts() * 3 * synthetic.hidden() * synthetic.inner();
        return model.weightBytes() - experts * missed;
    }

    /** Seconds for {@code count} requests from the first to the last token. */
    private static double run(ContinuousEngine engine, int count, int prompt, int generate) {
        Random random = new Random(1);
        List<Request> requests = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Ask ask = new Ask.Generate(SamplingJson.parse("{\"max_tokens\":%d}".formatted(generate), null));
            requests.add(new Request("bench " + i, random.ints(prompt, 0, 32000).toArray(), ask));
        }
        long start = System.nanoTime();
        requests.forEach(engine::submit);
        while (!engine.idle()) {
            engine.step();
        }
        return (System.nanoTime() - start) / 1e9;
    }
}
