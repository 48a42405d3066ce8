package io.nightmill.jobs;

import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.kernels.HostBackend;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.ExpertLoad;
import io.nightmill.layers.Scratch;
import io.nightmill.layers.StateCost;
import io.nightmill.layers.Step;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Precision;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.IntStream;

/** What a longer context costs models of equal size that remember in different ways. */
record ContextBench(BenchJob.Machine machine, List<Integer> contexts, List<Integer> prefills) {
    private static final int STEPS = 12;

    void run() {
        List<SyntheticModel> models = List.of(
                SyntheticModel.layers("full attention", layer -> true),
                SyntheticModel.layers("hybrid, 1 in 4", layer -> layer % 4 == 3),
                SyntheticModel.layers("recurrent", layer -> false));
        HostBackend backend = ExecutorRuntime.backend(Precision.F32, machine.threads());
        List<SyntheticModel.Built> built =
                models.stream().map(model -> model.build(backend)).toList();

        // Until the JVM has compiled.
        for (int i = 0; i < 4; i++) {
            built.forEach(one -> decode(backend, one.decoder(), 512));
        }

        System.out.println();
        System.out.println(header("decode, batch 1", contexts));
        for (int i = 0; i < models.size(); i++) {
            StringBuilder row = new StringBuilder(title(models.get(i), built.get(i)));
            StateCost cost = StateCost.of(built.get(i).decoder().states(), KvType.F32);
            for (int context : contexts) {
                double bytes = cost.bytes(context);
                row.append(String.format(
                        Locale.ROOT,
                        " %.1f (%.1f MB) |",
                        decode(backend, built.get(i).decoder(), context),
                        bytes / 1e6));
            }
            System.out.println(row);
        }

        System.out.println();
        System.out.println(header("prefill, one prompt", prefills));
        for (int i = 0; i < models.size(); i++) {
            StringBuilder row = new StringBuilder(title(models.get(i), built.get(i)));
            prefill(backend, built.get(i).decoder(), 256);
            for (int length : prefills) {
                row.append(String.format(
                        Locale.ROOT, " %.0f |", prefill(backend, built.get(i).decoder(), length)));
            }
            System.out.println(row);
        }
    }

    private static String header(String what, List<Integer> lengths) {
        StringBuilder head = new StringBuilder("| " + what + " | parameters |");
        lengths.forEach(length -> head.append(String.format(Locale.ROOT, " %,d tokens |", length)));
        return head + "\n" + "|---".repeat(lengths.size() + 2) + "|";
    }

    private static String title(SyntheticModel model, SyntheticModel.Built built) {
        return String.format(Locale.ROOT, "| %s | %.0f M |", model.name(), built.parameters() / 1e6);
    }

    /** Tokens per second. The states hold zeros: what a step costs does not depend on their values. */
    private static double decode(HostBackend backend, Decoder decoder, int context) {
        int pages = (context + STEPS) / Batch.PAGE_TOKENS + 1;
        int[] all = IntStream.range(0, pages).toArray();
        List<List<State>> states = new ArrayList<>();
        for (List<State.Spec> specs : decoder.states()) {
            List<State> branch = new ArrayList<>();
            for (State.Spec spec : specs) {
                int rows = spec instanceof State.Spec.Paged ? pages * Batch.PAGE_TOKENS : 1;
                State state = backend.allocate(spec, rows, KvType.F32);
                if (spec instanceof State.Spec.Paged) {
                    KernelBench.write(backend, state, all);
                }
                branch.add(state);
            }
            states.add(branch);
        }
        Scratch scratch = new Scratch(backend);
        double[] seconds = new double[STEPS];
        for (int i = 0; i < STEPS; i++) {
            long start = System.nanoTime();
            Scratch.Mark mark = scratch.mark();
            Batch.Span span = new Batch.Span(0, 1, context + i - 1, context + i, all, 0);
            Batch batch = new Batch(new int[] {i}, List.of(span));
            Tensor hidden =
                    decoder.forward(states, new Step(backend, batch, scratch, new ExpertLoad(backend, decoder)));
            decoder.logits(backend, scratch.tensor(1, decoder.vocabulary()), hidden);
            scratch.release(mark);
            seconds[i] = (System.nanoTime() - start) / 1e9;
        }
        Arrays.sort(seconds);
        return 1 / seconds[STEPS / 2];
    }

    private static double prefill(HostBackend backend, Decoder decoder, int length) {
        ContinuousEngine engine =
                new ContinuousEngine(backend, decoder, null, Set.of(), length + 16, new Limits(4L << 30, 1, 512));
        return length / ModelBench.prefill(engine, decoder.vocabulary(), 1, length);
    }
}
