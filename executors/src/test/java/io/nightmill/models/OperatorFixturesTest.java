package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.ReferenceBackend;
import io.nightmill.kernels.Update;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.GgufWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The recurrences against flash-linear-attention's naive operators, on the inputs of the golden folder {@code ops}. */
class OperatorFixturesTest {
    private static final Path OPS = Golden.root().resolve("ops");

    /** One operator on one backend: its inputs as rows, each a token's. */
    private static final class Run implements AutoCloseable {
        private final Backend backend;
        private final Map<String, float[]> values;
        private final int tokens;

        Run(Backend backend, String operator) {
            this.backend = backend;
            this.values = GgufWriter.valuesOf(OPS.resolve(operator + ".safetensors"));
            this.tokens = values.get("in.q").length / 32;
        }

        Tensor upload(int rows, float[] from) {
            Tensor tensor = new Tensor(backend.allocate(from.length), 0, rows, from.length / rows);
            backend.upload(tensor, from);
            return tensor;
        }

        Tensor in(String name) {
            return upload(tokens, values.get("in." + name));
        }

        /** Decays, which the operators take as logarithms. */
        Tensor decay() {
            float[] logs = values.get("in.g").clone();
            for (int i = 0; i < logs.length; i++) {
                logs[i] = (float) Math.exp(logs[i]);
            }
            return upload(tokens, logs);
        }

        State state(int width) {
            return backend.allocate(new State.Spec.Fixed(width), 1, KvType.F32);
        }

        Batch batch() {
            Batch.Span span = new Batch.Span(0, tokens, 0, tokens, new int[0], 0);
            return new Batch(new int[tokens], List.of(span));
        }

        void check(Tensor out) {
            float[] expected = values.get("out.o");
            float[] actual = new float[expected.length];
            backend.download(out, actual);
            JsonNode golden = ConfigNode.read(OPS.resolve("golden.json")).json();
            float tolerance = golden.at("/tolerance/suggested_abs").floatValue();
            assertThat(tolerance).isPositive();
            for (int i = 0; i < expected.length; i++) {
                assertThat(Math.abs(actual[i] - expected[i]))
                        .as("value %d: %s, expected %s", i, actual[i], expected[i])
                        .isLessThanOrEqualTo(tolerance);
            }
        }

        @Override
        public void close() {
            backend.close();
        }
    }

    private static Run run(String backend, String operator) {
        return new Run(backend.equals("host") ? new HostBackend(2) : new ReferenceBackend(), operator);
    }

    @ParameterizedTest
    @ValueSource(strings = {"host", "reference"})
    void kimiDeltaAttention(String backend) {
        delta(backend, "kda", Recurrence.Decay.KEY, 0.25f);
    }

    @ParameterizedTest
    @ValueSource(strings = {"host", "reference"})
    void gatedDeltaRule(String backend) {
        delta(backend, "gated_delta_rule", Recurrence.Decay.HEAD, 0.25f);
    }

    private static void delta(String backend, String operator, Recurrence.Decay decay, float scale) {
        try (Run run = run(backend, operator)) {
            Recurrence recurrence = Recurrence.of(2, 16, 16, decay, Recurrence.Rule.DELTA, scale);
            Tensor out = run.upload(run.tokens, new float[run.tokens * 32]);
            Update update = Update.delta(run.in("q"), run.in("k"), run.in("v"), run.decay(), run.in("beta"));
            run.backend.recur(out, update, recurrence, run.state(recurrence.stateWidth()), run.batch());
            run.check(out);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"host", "reference"})
    void mesaNet(String backend) {
        try (Run run = run(backend, "mesa_net_exact")) {
            Tensor out = run.upload(run.tokens, new float[run.tokens * 32]);
            Tensor ridge = run.upload(2, run.values.get("in.lamb"));
            Update update = Update.delta(run.in("q"), run.in("k"), run.in("v"), run.decay(), run.in("beta"));
            run.backend.regress(out, update, ridge, run.state(2 * 16 * 32), run.batch());
            run.check(out);
        }
    }
}
