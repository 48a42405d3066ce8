package io.nightmill.jobs;

import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.kernels.HostBackend;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.runtime.SamplingJson;
import io.nightmill.weights.Precision;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;

/** Tokens per second of whole models. */
record ModelBench(BenchJob.Machine machine, int promptTokens, int decodeTokens) {
    void run() {
        System.out.println();
        System.out.println(
                "| model | backend | prefill tok/s | of peak FLOP/s | decode batch | tok/s | weights read, GB/s |"
                        + " of bandwidth |");
        System.out.println("|---|---|---|---|---|---|---|---|");
        for (SyntheticModel model : List.of(SyntheticModel.dense(), SyntheticModel.mixture())) {
            for (Precision precision : new Precision[] {Precision.F32, Precision.BF16}) {
                measure(model, ExecutorRuntime.backend(precision, machine.threads()));
            }
        }
    }

    private void measure(SyntheticModel model, HostBackend backend) {
        SyntheticModel.Built built = model.build(backend);
        try (ContinuousEngine engine =
                new ContinuousEngine(backend, built.decoder(), null, Set.of(), 32768, new Limits(3L << 30, 64, 512))) {
            seconds(engine, 4, 64, 8);
            double prefill = 4.0 * promptTokens / seconds(engine, 4, promptTokens, 1);
            for (int batch : new int[] {1, 8, 32}) {
                double all = seconds(engine, batch, 128, decodeTokens + 1) - seconds(engine, batch, 128, 1);
                double decode = batch * decodeTokens / all;
                double read = decode / batch * model.bytesRead(built, batch);
                System.out.printf(
                        Locale.ROOT,
                        "| %s | %s | %.0f | %.0f%% | %d | %.1f | %.1f | %.0f%% |%n",
                        model.name(),
                        backend.name(),
                        prefill,
                        100 * prefill * 2 * model.activeParameters(built) / machine.flops(),
                        batch,
                        decode,
                        read / 1e9,
                        100 * read / machine.bandwidth());
            }
        }
    }

    /** For {@code count} requests from the first to the last token. */
    static double seconds(ContinuousEngine engine, int count, int prompt, int generate) {
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
