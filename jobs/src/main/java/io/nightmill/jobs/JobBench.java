package io.nightmill.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.kernels.Backend;
import io.nightmill.models.Model;
import io.nightmill.models.ModelLoader;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.weights.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.apache.hadoop.fs.FileUtil;

/** One table of prompts of many lengths through the engine alone, and through {@code generate} on Spark in this process. */
record JobBench(BenchJob.Machine machine, List<Precision> precisions, int rows, int decodeTokens) {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final int SHORTEST = 32;
    private static final int LONGEST = 512;

    void run(List<Path> models) throws IOException {
        System.out.printf(
                Locale.ROOT,
                "%n%d prompts of %d to %d tokens, %d tokens decoded for each; tokens per second, prompts' included%n%n",
                rows,
                SHORTEST,
                LONGEST,
                decodeTokens);
        System.out.println(
                "| model | dtype | engine alone | generate, inference and writing | share | generate, from start to end | share |");
        System.out.println("|---|---|---|---|---|---|---|");
        for (Path model : models) {
            for (Precision precision : precisions) {
                measure(model, precision);
            }
        }
    }

    private void measure(Path model, Precision precision) throws IOException {
        List<int[]> prompts = prompts(ModelLoader.loadText(model).vocabulary());
        double alone = tokens(prompts) / alone(model, precision, prompts);
        Path folder = Files.createTempDirectory("nightmill-bench");
        try {
            measure(model, precision, prompts, alone, folder);
        } finally {
            FileUtil.fullyDelete(folder.toFile());
        }
    }

    private void measure(Path model, Precision precision, List<int[]> prompts, double alone, Path folder)
            throws IOException {
        Path input = folder.resolve("prompts.jsonl");
        try (var out = Files.newBufferedWriter(input)) {
            for (int i = 0; i < prompts.size(); i++) {
                ObjectNode row = MAPPER.createObjectNode().put("id", "row " + i);
                ArrayNode ids = row.putArray("prompt_token_ids");
                Arrays.stream(prompts.get(i)).forEach(ids::add);
                out.write(row + "\n");
            }
        }
        Path output = folder.resolve("out");
        String dtype = precision.name().toLowerCase(Locale.ROOT);
        long start = System.nanoTime();
        int status = Nightmill.execute(
                new Nightmill(),
                "generate",
                "--model",
                model.toString(),
                "--input",
                input.toString(),
                "--output",
                output.toString(),
                "--dtype",
                dtype,
                "--device",
                "cpu",
                "--threads",
                Integer.toString(machine.threads()),
                "--max-tokens",
                Integer.toString(decodeTokens),
                "--temperature",
                "0",
                "--ignore-eos");
        double whole = (System.nanoTime() - start) / 1e9;
        if (status != 0) {
            throw new IllegalStateException("generate ended with " + status);
        }
        JsonNode report =
                MAPPER.readTree(output.resolve("_nightmill/report.json").toFile());
        double tokens = tokens(prompts);
        double stage = report.path("seconds").path("infer_and_write").asDouble();
        System.out.printf(
                Locale.ROOT,
                "| %s | %s | %.0f | %.0f | %.0f%% | %.0f | %.0f%% |%n",
                model.getFileName(),
                dtype,
                alone,
                tokens / stage,
                100 * tokens / stage / alone,
                tokens / whole,
                100 * tokens / whole / alone);
    }

    private double tokens(List<int[]> prompts) {
        return prompts.stream().mapToInt(prompt -> prompt.length).sum() + (double) rows * decodeTokens;
    }

    private List<int[]> prompts(int vocabulary) {
        Random random = new Random(1);
        List<int[]> prompts = new ArrayList<>();
        for (int i = 0; i < rows; i++) {
            prompts.add(random.ints(random.nextInt(SHORTEST, LONGEST + 1), 0, vocabulary)
                    .toArray());
        }
        return prompts;
    }

    /** Seconds with a model that is loaded and kernels that are compiled. */
    private double alone(Path path, Precision precision, List<int[]> prompts) {
        Backend backend = ExecutorRuntime.backend(precision, machine.threads());
        Model model = ModelLoader.load(path, backend);
        Limits limits = new Limits(0, precision.kvType("auto"), 0, 0);
        try (ContinuousEngine engine = new ContinuousEngine(
                backend,
                model.decoder(),
                null,
                model.text().endTokens(),
                model.text().contextLength(),
                limits)) {
            run(engine, prompts.subList(0, prompts.size() / 8));
            long start = System.nanoTime();
            run(engine, prompts);
            return (System.nanoTime() - start) / 1e9;
        }
    }

    private void run(ContinuousEngine engine, List<int[]> prompts) {
        ModelBench.submit(engine, prompts, decodeTokens);
        while (!engine.idle()) {
            engine.step();
        }
    }
}
