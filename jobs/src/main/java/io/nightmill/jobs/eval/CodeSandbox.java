package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nightmill.jobs.eval.EvalTask.MetricConfig;
import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Runs what a model wrote, by a command of the user's that reads a program and shuts it in, such as {@code docker run --rm -i
 * --network none python:3.12 python -}. Exit status 0 is a pass.
 */
record CodeSandbox(String command) implements Serializable {
    /** HumanEval's metric, the one that needs it. */
    static final String METRIC = "humaneval/utils.pass_at_k";

    private static final int SECONDS = 30;

    /**
     * {@code pass@k} (Chen et al., 2021) for every k of the metric; without a sandbox, none.
     *
     * @param answers whole programs but for the test
     */
    static Map<String, JsonNode> passAtK(
            MetricConfig metric, String test, JsonNode answers, @Nullable CodeSandbox sandbox) {
        Map<String, JsonNode> values = new LinkedHashMap<>();
        if (sandbox == null) {
            return values;
        }
        int passed = 0;
        for (JsonNode answer : answers) {
            passed += sandbox.passes(answer.asText() + "\n" + test) ? 1 : 0;
        }
        int n = answers.size();
        int c = passed;
        metric.options().path("k").forEach(k -> {
            if (k.intValue() <= n) {
                values.put("pass@" + k.intValue(), JsonNodeFactory.instance.numberNode(estimate(n, c, k.intValue())));
            }
        });
        return values;
    }

    static double estimate(int n, int c, int k) {
        if (n - c < k) {
            return 1;
        }
        double none = 1;
        for (int i = n - c + 1; i <= n; i++) {
            none *= 1 - (double) k / i;
        }
        return 1 - none;
    }

    private boolean passes(String program) {
        try {
            Process process = new ProcessBuilder("sh", "-c", command)
                    .redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                    .start();
            try (OutputStream in = process.getOutputStream()) {
                in.write(program.getBytes(StandardCharsets.UTF_8));
            } catch (IOException e) {
                // It ended before it had read all.
            }
            boolean ended = process.waitFor(SECONDS, TimeUnit.SECONDS);
            if (!ended) {
                process.descendants().forEach(ProcessHandle::destroyForcibly);
                process.destroyForcibly();
            }
            return ended && process.exitValue() == 0;
        } catch (IOException e) {
            throw new IllegalStateException("Cannot run --code-sandbox " + command, e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while a program ran", e);
        }
    }
}
