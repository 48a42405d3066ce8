package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.Logs;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What can be seen of a run while it runs, and after. */
class WatchIT {
    private static final Path MODEL = Jobs.ROOT.resolve("conf/demo/stories-hybrid-moe");
    private static final Map<String, String> METRICS = Map.of(
            "spark.metrics.conf.*.sink.prometheusServlet.class",
            "org.apache.spark.metrics.sink.PrometheusServlet",
            "spark.metrics.conf.*.sink.prometheusServlet.path",
            "/metrics/prometheus");

    @TempDir
    Path temp;

    private Path input(int rows) throws IOException {
        List<ObjectNode> all = new ArrayList<>();
        for (int i = 0; i < rows; i++) {
            all.add(Jobs.row()
                    .put("id", "row-" + i)
                    .put("prompt", "The secret of a long and quiet night is number " + i));
        }
        all.add(Jobs.row().put("id", "<script>alert(1)</script>").putNull("prompt"));
        return Jobs.jsonl(temp.resolve("in.jsonl"), all);
    }

    private Path run(String name, Path input, String... more) {
        Path out = temp.resolve(name);
        Jobs.run(Jobs.args("generate", MODEL, input, out, more).toArray(new String[0]));
        return out;
    }

    private static String chromium() {
        return Stream.of("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
                .flatMap(name -> Stream.of(System.getenv("PATH").split(":")).map(folder -> Path.of(folder, name)))
                .filter(Files::isExecutable)
                .findFirst()
                .orElseThrow(() -> new AssertionError(
                        "there is no Chromium on the PATH: apt-get install chromium, as ./check does"))
                .toString();
    }

    @Test
    void reportIsDrawnByABrowser() throws IOException, InterruptedException {
        Path out = run(
                "report",
                input(60),
                "--max-tokens",
                "60",
                "--ignore-eos",
                "--shard-tokens",
                "1000",
                "--price-per-hour",
                "3.6");
        JsonNode report = Jobs.report(out);
        assertThat(report.at("/cost/total").asDouble())
                .isCloseTo(report.at("/seconds/infer_and_write").asDouble() / 1000, within(1e-9));
        assertThat(report.at("/plan/predicted/seconds").asDouble()).isPositive();
        assertThat(report.path("timeline").size()).isPositive();
        for (String share : List.of("prefill/of_product_flops", "decode/of_product_bandwidth", "tokens_per_expert")) {
            assertThat(report.at("/steps/" + share).asDouble()).as(share).isPositive();
        }
        assertThat(report.at("/steps/decode/rows_per_step").asDouble()).isBetween(1.0, 64.0);
        assertThat(report.at("/error_examples/bad_input/0").asText())
                .contains("alert(1)")
                .contains("the prompt is null");
        long prompts = 0;
        for (JsonNode bin : report.at("/lengths/prompt")) {
            prompts += bin.asLong();
        }
        assertThat(prompts).isEqualTo(60);
        long rows = 0;
        for (JsonNode shard : report.path("shard_runs")) {
            rows += shard.path("rows").asLong();
        }
        assertThat(rows).isEqualTo(60);

        Path dom = temp.resolve("dom.html");
        Process browser = new ProcessBuilder(
                        chromium(),
                        "--headless",
                        "--no-sandbox",
                        "--disable-gpu",
                        "--virtual-time-budget=5000",
                        "--user-data-dir=" + temp.resolve("profile"),
                        "--dump-dom",
                        out.resolve("_nightmill/report.html").toUri().toString())
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .redirectOutput(dom.toFile())
                .start();
        assertThat(browser.waitFor()).isZero();
        String drawn = Files.readString(dom);
        assertThat(drawn).contains("data-charts=\"5\"").contains("Expert load").contains("layer 6");
        // An id that would be a script is shown as text.
        assertThat(drawn).contains("&lt;script&gt;alert(1)&lt;/script&gt;: the prompt is null");
    }

    @Test
    void sparksOwnPagesShowTheRun() throws IOException {
        METRICS.forEach(System::setProperty);
        System.setProperty("spark.ui.port", "0");
        try {
            Path input = input(120);
            CompletableFuture<Path> job =
                    CompletableFuture.supplyAsync(() -> run("watched", input, "--max-tokens", "300", "--ignore-eos"));
            String page = "";
            String metrics = "";
            Instant end = Instant.now().plus(Duration.ofMinutes(2));
            while (!job.isDone()
                    && Instant.now().isBefore(end)
                    && !(page.contains("host-vector")
                            && page.contains("Failed as")
                            && metrics.contains("promptTokens"))) {
                Thread.sleep(200);
                if (SparkSession.getDefaultSession().isDefined()) {
                    String ui = SparkSession.getDefaultSession()
                            .get()
                            .sparkContext()
                            .uiWebUrl()
                            .getOrElse(() -> "");
                    page = get(ui + "/nightmill/");
                    metrics = get(ui + "/metrics/prometheus/");
                }
            }
            assertThat(page).contains("of 121 rows").contains("<td>driver</td>").contains("Failed as bad_input");
            assertThat(metrics).containsPattern("NightmillPlugin_promptTokens_Value\\{type=\"gauges\"} \\d+");
            job.join();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        } finally {
            METRICS.keySet().forEach(System::clearProperty);
            System.clearProperty("spark.ui.port");
        }
    }

    private static String get(String url) throws InterruptedException {
        try {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url))
                    .timeout(Duration.ofSeconds(5))
                    .build();
            return HttpClient.newHttpClient()
                    .send(request, HttpResponse.BodyHandlers.ofString())
                    .body();
        } catch (IOException | IllegalArgumentException e) {
            // It is not there yet.
            return "";
        }
    }

    @Test
    void logsNameRowsAndNotWhatTheySay() throws Exception {
        assertThat(Logs.during(() -> run("silent", input(2), "--max-tokens", "2")))
                .anyMatch(line -> line.contains("3 of 3 rows"))
                .noneMatch(line -> line.contains("quiet night"));
        assertThat(Logs.during(() -> run("told", input(2), "--max-tokens", "2", "--log-prompts")))
                .anyMatch(line -> line.contains("Row row-1:") && line.contains("quiet night is number 1"));
    }
}
