package io.nightmill.jobs;

import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.kernels.Backend;
import io.nightmill.layers.StateCost;
import io.nightmill.runtime.DeviceSpec;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.runtime.KernelSpeed;
import io.nightmill.runtime.SamplingJson;
import io.nightmill.weights.Precision;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Tokens per second of whole models.
 *
 * @param promptTokens of each prompt
 * @param decodeSteps timed steps in which every row of a batch decodes a token
 * @param batches rows that decode together
 * @param profile whether the operations that took the most are printed too
 */
record ModelBench(
        BenchJob.Machine machine,
        DeviceSpec device,
        List<Precision> precisions,
        int promptTokens,
        int decodeSteps,
        List<Integer> batches,
        boolean profile) {
    private static final int PROMPTS = 8;
    /** Tokens of prompts that are read, at least: once for weights to be packed and kernels compiled, and once to be measured. */
    private static final int READ = 2048;

    /** Decoding short rows until the compiler has seen the kernels of so many. */
    private static final long WARM_NANOS = 8_000_000_000L;

    private static final int WARM_PROMPT = 16;

    void run(List<BenchModel> models) {
        System.out.println();
        System.out.println(
                "| model | backend | prefill tok/s | of its products' FLOP/s | decode batch | tok/s | weights and states read, GB/s |"
                        + " of bandwidth | peak memory, GB |");
        System.out.println("|---|---|---|---|---|---|---|---|---|");
        for (BenchModel model : models) {
            for (Precision precision : precisions) {
                measure(model, precision);
            }
        }
    }

    private void measure(BenchModel model, Precision precision) {
        KernelSpeed speed = KernelSpeed.of(device, precision, machine.threads());
        Backend plain = ExecutorRuntime.backend(device, precision, machine.threads());
        OperationTimes times = new OperationTimes(plain);
        // Asking what a call is takes time, so only who wants to know pays for it.
        Backend backend = profile ? times.timed() : plain;
        BenchModel.Built built = model.build(backend);
        int most = batches.stream().mapToInt(Integer::intValue).max().orElse(1);
        int context = promptTokens + decodeSteps + most + 16;
        Limits limits = new Limits(4L << 30, precision.kvType("auto"), Math.max(most, PROMPTS), 0);
        try (ContinuousEngine engine =
                new ContinuousEngine(backend, built.decoder(), null, Set.of(), context, limits)) {
            int vocabulary = built.decoder().vocabulary();
            int prompts = Math.max(PROMPTS, READ / promptTokens);
            prefill(engine, vocabulary, Math.max(2, READ / promptTokens), promptTokens);
            times.clear();
            double reading = prefill(engine, vocabulary, prompts, promptTokens);
            double prefill = prompts * promptTokens / reading;
            if (profile) {
                times.print("%s, %s, prompts of %d".formatted(model.name(), precision, promptTokens), reading);
            }
            for (int batch : batches) {
                double seconds = decode(engine, vocabulary, batch, times);
                double decode = batch * decodeSteps / seconds;
                double read = decode / batch * (built.bytesRead(batch, precision) + batch * states(built, limits));
                if (profile) {
                    times.print("%s, %s, batch %d".formatted(model.name(), precision, batch), seconds);
                }
                System.out.printf(
                        Locale.ROOT,
                        "| %s | %s | %.0f | %.0f%% | %d | %.1f | %.1f | %.0f%% | %.2f |%n",
                        model.name(),
                        backend.name(),
                        prefill,
                        100 * prefill * 2 * built.activeParameters() / speed.flops(),
                        batch,
                        decode,
                        read / 1e9,
                        100 * read / machine.bandwidth(),
                        BenchJob.peakMemory() / 1e9);
            }
        }
        backend.close();
    }

    /** Seconds of reading so many random prompts. */
    static double prefill(ContinuousEngine engine, int vocabulary, int prompts, int promptTokens) {
        submit(engine, vocabulary, prompts, promptTokens, 1);
        long start = System.nanoTime();
        while (!engine.idle()) {
            engine.step();
        }
        return (System.nanoTime() - start) / 1e9;
    }

    /** Bytes of a row's states halfway through the measured steps, as if no window cut them. */
    private double states(BenchModel.Built built, Limits limits) {
        StateCost cost = StateCost.of(built.decoder().states(), limits.kvType());
        return (cost.bytes(promptTokens) + cost.bytes(promptTokens + decodeSteps)) / 2.0;
    }

    /** Seconds of {@link #decodeSteps} steps, once the kernels are compiled and all prompts are read. */
    private double decode(ContinuousEngine engine, int vocabulary, int batch, OperationTimes times) {
        long warm = System.nanoTime() + WARM_NANOS;
        List<Request> first = submit(engine, vocabulary, batch, WARM_PROMPT, promptTokens);
        while (!engine.idle() && System.nanoTime() < warm) {
            engine.step();
        }
        first.forEach(engine::cancel);
        long read = engine.counters().promptTokens();
        List<Request> requests = submit(engine, vocabulary, batch, promptTokens, decodeSteps + batch + 8);
        while (engine.counters().promptTokens() < read + (long) batch * promptTokens) {
            engine.step();
        }
        times.clear();
        long start = System.nanoTime();
        for (int i = 0; i < decodeSteps; i++) {
            engine.step();
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        if (engine.counters().running() != batch) {
            throw new IllegalStateException("Cannot measure a batch of %d: %d rows were running"
                    .formatted(batch, engine.counters().running()));
        }
        requests.forEach(engine::cancel);
        return seconds;
    }

    private static List<Request> submit(
            ContinuousEngine engine, int vocabulary, int count, int promptTokens, int generate) {
        Random random = new Random(1);
        return submit(
                engine,
                Stream.generate(() -> random.ints(promptTokens, 0, vocabulary).toArray())
                        .limit(count)
                        .toList(),
                generate);
    }

    /** Greedy requests for so many tokens each. */
    static List<Request> submit(ContinuousEngine engine, List<int[]> prompts, int generate) {
        Ask ask = new Ask.Generate(SamplingJson.parse(
                "{\"max_tokens\":%d,\"temperature\":0,\"ignore_eos\":true}".formatted(generate), null));
        List<Request> requests = prompts.stream()
                .map(prompt -> new Request("bench", prompt, ask))
                .toList();
        requests.forEach(engine::submit);
        return requests;
    }
}
