package io.nightmill.pipeline;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.engine.Work;
import io.nightmill.models.ModelSize;
import io.nightmill.pipeline.NightmillPlugin.Progress;
import io.nightmill.pipeline.RunMonitor.Snapshot;
import io.nightmill.runtime.DeviceUse;
import io.nightmill.runtime.DeviceUse.KernelTime;
import io.nightmill.runtime.KernelSpeed;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What a run did: {@code report.json}, and the same to look at in {@code report.html}, which needs nothing beside it. */
final class RunReport {
    private final ObjectNode json = new ObjectMapper().createObjectNode();

    /**
     * @param rows of the input
     * @param kept of them, those that earlier runs had computed
     */
    RunReport(RunConfig config, long rows, long kept, int shards, RunCounters counters, RunMonitor monitor) {
        json.put("date", Instant.now().toString());
        json.put("model", config.model().path());
        json.put("dtype", config.model().precision().name().toLowerCase(Locale.ROOT));
        json.put("kv_dtype", config.model().limits().kvType().name().toLowerCase(Locale.ROOT));
        json.put("max_num_seqs", config.model().limits().maxNumSeqs());
        json.put("max_num_batched_tokens", config.model().limits().maxNumBatchedTokens());
        json.put("device", config.model().device().device());
        ObjectNode backends = json.putObject("backends");
        NightmillPlugin.latest().forEach((executor, progress) -> backends.put(executor, progress.backend()));
        if (config.input() != null) {
            json.put("input", config.input());
        }
        json.put("output", config.output());
        if (config.sampling() != null) {
            json.put("sampling", config.sampling());
        }
        ObjectNode counts = json.putObject("rows");
        ObjectNode errors = counts.putObject("errors");
        counters.errors().forEach(errors::put);
        long failed =
                counters.errors().values().stream().mapToLong(Long::longValue).sum();
        counts.put("in", rows).put("ok", rows - failed).put("error", failed).put("kept", kept);
        counts.put("duplicates", counters.duplicates().value());
        json.put("shards", shards);
        addTables(counters);
        addTimeline(monitor);
    }

    private void addTables(RunCounters counters) {
        long[][] load = counters.expertLoad().value();
        if (load.length > 0) {
            ArrayNode layers = json.putArray("expert_load");
            Arrays.stream(load).forEach(layer -> addAll(layers.addArray(), layer));
        }
        long[][] lengths = counters.lengths().value();
        if (lengths.length > 0) {
            ObjectNode histograms = json.putObject("lengths");
            addAll(histograms.putArray("prompt"), lengths[0]);
            addAll(histograms.putArray("output"), lengths[1]);
        }
        ObjectNode examples = json.putObject("error_examples");
        counters.examples().value().forEach((code, texts) -> texts.forEach(examples.withArray(code)::add));
        ArrayNode runs = json.putArray("shard_runs");
        counters.shards().value().forEach((shard, run) -> runs.addObject()
                .put("shard", shard)
                .put("executor", run.executor())
                .put("attempts", run.attempts())
                .put("rows", run.rows())
                .put("tokens", run.tokens())
                .put("seconds", run.millis() / 1e3));
    }

    private static void addAll(ArrayNode list, long[] values) {
        Arrays.stream(values).forEach(list::add);
    }

    private void addTimeline(RunMonitor monitor) {
        List<Snapshot> history = monitor.history();
        ArrayNode timeline = json.putArray("timeline");
        for (Snapshot point : history) {
            timeline.addObject()
                    .put("seconds", point.seconds())
                    .put("rows", point.rows())
                    .put("prompt", point.promptTokens())
                    .put("completion", point.completionTokens())
                    .put("running", point.sum(Progress::running))
                    .put("waiting", point.sum(Progress::waiting));
        }
        ArrayNode executors = json.putArray("executors");
        for (Progress executor : monitor.now().executors()) {
            ObjectNode entry = executors
                    .addObject()
                    .put("executor", executor.executor())
                    .put("backend", executor.backend())
                    .put("prompt_tokens", executor.promptTokens() + executor.cachedTokens())
                    .put("completion_tokens", executor.completionTokens())
                    .put("preemptions", executor.preemptions())
                    .put("guessed_tokens", executor.guessedTokens())
                    .put("right_guesses", executor.rightGuesses());
            addDevice(entry, executor.device());
        }
    }

    private static void addDevice(ObjectNode executor, DeviceUse use) {
        if (use.streamedBytes() > 0) {
            executor.putObject("streamed_weights")
                    .put("bytes", use.streamedBytes())
                    .put("expert_hits", use.expertHits())
                    .put("expert_misses", use.expertMisses());
        }
        if (use.kernels().isEmpty()) {
            return;
        }
        double all = use.kernels().stream().mapToDouble(KernelTime::seconds).sum();
        ArrayNode kernels = executor.putArray("kernels");
        for (KernelTime kernel : use.kernels()) {
            ObjectNode entry = kernels.addObject()
                    .put("kernel", kernel.kernel())
                    .put("launches", kernel.launches())
                    .put("seconds", kernel.seconds())
                    .put("share", kernel.seconds() / all);
            if (kernel.flops() > 0) {
                entry.put("flops_per_second", kernel.flops() / kernel.seconds())
                        .put("weight_bytes_per_second", kernel.bytes() / kernel.seconds());
            }
        }
    }

    RunReport took(RunCounters counters, double planSeconds, double inferSeconds) {
        long prompt = counters.promptTokens().value();
        long completion = counters.completionTokens().value();
        json.putObject("tokens")
                .put("prompt", prompt)
                .put("cached", counters.cachedTokens().value())
                .put("completion", completion);
        json.putObject("seconds").put("tokenize_and_plan", planSeconds).put("infer_and_write", inferSeconds);
        json.putObject("tokens_per_second")
                .put("prompt", prompt / inferSeconds)
                .put("completion", completion / inferSeconds);
        return this;
    }

    RunReport planned(ShardCost total, ModelSize model, Prediction prediction) {
        ObjectNode plan = json.putObject("plan");
        plan.put("prompt_tokens", total.promptTokens())
                .put("shared_prompt_tokens", total.sharedTokens())
                .put("duplicate_rows", total.duplicates());
        prediction.addTo(plan.putObject("predicted"));
        json.putObject("state_bytes")
                .put("per_token", model.state().perToken())
                .put("per_sequence", model.state().perSequence());
        return this;
    }

    /**
     * What steps took beside what their products need by the model's numbers, and in decoding what states need, as shares of what this
     * machine's products reach. A mixture's step is taken to read the experts that so many random choices meet, and a row's states to be
     * read whole, once.
     */
    RunReport worked(RunCounters counters, ModelSize model, KernelSpeed speed) {
        Work work = Work.of(counters.work().value());
        long[][] load = counters.expertLoad().value();
        double choices = Arrays.stream(load).flatMapToLong(Arrays::stream).sum();
        double experts = Arrays.stream(load).mapToInt(layer -> layer.length).sum();
        for (JsonNode executor : json.path("executors")) {
            for (JsonNode kernel : executor.path("kernels")) {
                if (kernel.has("flops_per_second")) {
                    ((ObjectNode) kernel)
                            .put(
                                    "of_product_flops",
                                    kernel.path("flops_per_second").asDouble() / speed.flops());
                }
            }
        }
        ObjectNode steps = json.putObject("steps");
        Work.Steps prefill = work.prefill();
        if (prefill.count() > 0) {
            double seconds = prefill.nanos() / 1e9;
            double flops = prefill.tokens() * model.flopsPerToken() / seconds;
            steps.putObject("prefill")
                    .put("steps", prefill.count())
                    .put("tokens", prefill.tokens())
                    .put("seconds", seconds)
                    .put("flops_per_second", flops)
                    .put("of_product_flops", flops / speed.flops());
        }
        Work.Steps decode = work.decode();
        if (decode.count() > 0) {
            double seconds = decode.nanos() / 1e9;
            double batch = (double) decode.tokens() / decode.count();
            double chosen = experts == 0 ? 1 : choices / work.tokens() / experts;
            double idle = model.parameters() - model.activeParameters();
            double read = model.activeParameters() + idle * (1 - Math.pow(1 - chosen, batch - 1));
            double weights = read * model.weightBytes() / model.parameters() * decode.count() / seconds;
            double states = decode.stateBytes() / seconds;
            steps.putObject("decode")
                    .put("steps", decode.count())
                    .put("tokens", decode.tokens())
                    .put("seconds", seconds)
                    .put("rows_per_step", batch)
                    .put("weight_bytes_per_second", weights)
                    .put("state_bytes_per_second", states)
                    .put("of_product_bandwidth", (weights + states) / speed.bytesPerSecond());
        }
        if (experts > 0 && work.steps() > 0) {
            steps.put("tokens_per_expert", choices / experts / work.steps());
        }
        return this;
    }

    /** @param pricePerHour of an executor; 0 is not known */
    RunReport priced(double pricePerHour, int executors) {
        if (pricePerHour > 0) {
            double hours = json.at("/seconds/infer_and_write").asDouble() / 3600;
            double total = pricePerHour * executors * hours;
            double tokens = json.at("/tokens/prompt").asDouble()
                    + json.at("/tokens/completion").asDouble();
            json.putObject("cost")
                    .put("price_per_hour", pricePerHour)
                    .put("executors", executors)
                    .put("total", total)
                    .put("per_million_tokens", tokens == 0 ? 0 : total / tokens * 1e6);
        }
        return this;
    }

    ObjectNode json() {
        return json;
    }

    String html() {
        // Text of users' is in it; nothing there may end the script that holds it.
        String data = json.toString().replace("<", "\\u003c");
        return resource("report.html")
                .replace("@CHART@", resource("chart-4.4.9.umd.js"))
                .replace("@DATA@", data);
    }

    private static String resource(String name) {
        try (InputStream in = RunReport.class.getResourceAsStream(name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
