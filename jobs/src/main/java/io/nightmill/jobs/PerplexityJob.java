package io.nightmill.jobs;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Completion.Failure;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.engine.TokenScores;
import io.nightmill.kernels.Backend;
import io.nightmill.models.Model;
import io.nightmill.models.ModelLoader;
import io.nightmill.models.ModelText;
import io.nightmill.runtime.DeviceSpec;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.tensor.KvType;
import io.nightmill.weights.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What a narrower {@code --dtype} costs in quality, on a text of the user's. */
@Command(name = "perplexity", description = "Scores a text in several precisions and compares them, in this process.")
final class PerplexityJob implements Callable<Integer> {
    @Option(names = "--model", required = true, description = "a Hugging Face folder or a GGUF file")
    private Path model = Path.of("");

    @Option(
            names = "--text",
            required = true,
            description = "a text file in UTF-8; many thousand words say more than few")
    private Path text = Path.of("");

    @Option(
            names = "--dtype",
            split = ",",
            defaultValue = "f32,bf16,int8,int4",
            description = "what to compare, each with the first (default: ${DEFAULT-VALUE})")
    private List<String> dtypes = List.of();

    @Option(names = "--kv-dtype", defaultValue = "auto", description = "as of generate (default: ${DEFAULT-VALUE})")
    private String kvType = "";

    @Option(
            names = "--ctx-size",
            defaultValue = "512",
            description =
                    "tokens of a window; each begins afresh, and all but its first are scored (default: ${DEFAULT-VALUE})")
    private int contextSize;

    @Option(names = "--chunks", defaultValue = "0", description = "windows to score (default: all)")
    private int chunks;

    @Option(
            names = "--device",
            defaultValue = "cpu",
            description = "cpu, opencl or opencl:n (default: ${DEFAULT-VALUE})")
    private String device = "";

    @Option(names = "--threads", defaultValue = "0", description = "(default: all cores)")
    private int threads;

    /** What a text's tokens got, window by window. */
    private record Scored(double[] logprobs, int[] likeliest) {}

    @Override
    public Integer call() throws IOException {
        DeviceSpec on = DeviceSpec.of(device, 0.9, "fail");
        List<Precision> precisions = dtypes.stream().map(Precision::of).toList();
        ModelText modelText = ModelLoader.loadText(model);
        List<int[]> windows = windows(modelText);
        System.out.printf(
                Locale.ROOT,
                "%,d tokens of %s in %d windows%n%n",
                windows.stream().mapToInt(window -> window.length).sum(),
                text,
                windows.size());
        System.out.println("| dtype | kernels | perplexity | +/- | to the first | +/- | same likeliest token |");
        System.out.println("|---|---|---|---|---|---|---|");
        Scored first = null;
        for (Precision precision : precisions) {
            Backend backend = ExecutorRuntime.backend(on, precision, threads);
            Scored scored = score(modelText, windows, precision, backend);
            first = first == null ? scored : first;
            print(precision, backend.name(), scored, first);
        }
        return 0;
    }

    private List<int[]> windows(ModelText modelText) throws IOException {
        if (contextSize < 2 || contextSize > modelText.contextLength()) {
            throw new IllegalArgumentException(
                    "Cannot use ctx-size %d: the model's context has %d tokens, and 2 are needed"
                            .formatted(contextSize, modelText.contextLength()));
        }
        int[] tokens = modelText.encode(Files.readString(text));
        List<int[]> windows = new ArrayList<>();
        for (int at = 0; at + 1 < tokens.length && (chunks == 0 || windows.size() < chunks); at += contextSize) {
            windows.add(Arrays.copyOfRange(tokens, at, Math.min(tokens.length, at + contextSize)));
        }
        if (windows.isEmpty()) {
            throw new IllegalArgumentException(
                    "Cannot score %s: it has %d tokens, expected 2 or more".formatted(text, tokens.length));
        }
        return windows;
    }

    private Scored score(ModelText modelText, List<int[]> windows, Precision precision, Backend backend) {
        Model loaded = ModelLoader.load(model, modelText, backend);
        KvType held = precision.kvType(kvType);
        Limits limits = new Limits(0, held, 8, 512);
        try (ContinuousEngine engine = new ContinuousEngine(
                backend, loaded.decoder(), null, modelText.endTokens(), modelText.contextLength(), limits)) {
            Map<Integer, TokenScores> byWindow = new TreeMap<>();
            for (int i = 0; i < windows.size(); i++) {
                engine.submit(new Request(Integer.toString(i), windows.get(i), new Ask.Score(List.of(), 1)));
            }
            while (!engine.idle()) {
                for (Completion completion : engine.step()) {
                    byWindow.put(Integer.parseInt(completion.request().id()), prompt(completion));
                }
            }
            return new Scored(
                    byWindow.values().stream()
                            .flatMapToDouble(PerplexityJob::logprobs)
                            .toArray(),
                    byWindow.values().stream()
                            .flatMap(scores -> scores.tops().stream())
                            .mapToInt(top -> top.tokens()[0])
                            .toArray());
        }
    }

    private static TokenScores prompt(Completion completion) {
        Failure failure = completion.failure();
        if (failure != null) {
            throw new IllegalArgumentException(
                    "Cannot score window %s: %s".formatted(completion.request().id(), failure.message()));
        }
        return Objects.requireNonNull(completion.prompt());
    }

    private static DoubleStream logprobs(TokenScores scores) {
        return IntStream.range(0, scores.size()).mapToDouble(scores::logprob);
    }

    private static void print(Precision precision, String kernels, Scored scored, Scored first) {
        int tokens = scored.logprobs.length;
        double[] losses =
                Arrays.stream(scored.logprobs).map(logprob -> -logprob).toArray();
        double[] more = IntStream.range(0, tokens)
                .mapToDouble(i -> first.logprobs[i] - scored.logprobs[i])
                .toArray();
        long same = IntStream.range(0, tokens)
                .filter(i -> scored.likeliest[i] == first.likeliest[i])
                .count();
        double perplexity = Math.exp(mean(losses));
        double ratio = Math.exp(mean(more));
        // The error of a logarithm is relative to its argument.
        System.out.printf(
                Locale.ROOT,
                "| %s | %s | %.4f | %.4f | %+.3f%% | %.3f%% | %.2f%% |%n",
                precision.name().toLowerCase(Locale.ROOT),
                kernels,
                perplexity,
                perplexity * standardError(losses),
                100 * (ratio - 1),
                100 * ratio * standardError(more),
                100.0 * same / tokens);
    }

    private static double mean(double[] values) {
        return Arrays.stream(values).average().orElseThrow();
    }

    private static double standardError(double[] values) {
        double mean = mean(values);
        double squares = Arrays.stream(values).map(v -> (v - mean) * (v - mean)).sum();
        return values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1) / values.length);
    }
}
