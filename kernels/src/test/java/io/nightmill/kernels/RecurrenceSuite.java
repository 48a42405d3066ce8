package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.kernels.Recurrence.Decay;
import io.nightmill.kernels.Recurrence.Rule;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * Every operation along time, on sequences that are packed together and cut at random: the result is that of the float64
 * reference taking each sequence alone and token by token, and its bits do not depend on the cuts or on the company.
 */
abstract class RecurrenceSuite {
    private static final int SLOTS = 7;
    private static final int CUTS = 4;

    private final ReferenceBackend reference = new ReferenceBackend();
    private final Random random = new Random(11);
    private Backend backend;

    abstract Backend backend();

    @BeforeEach
    void open() {
        backend = backend();
    }

    @AfterEach
    void close() {
        backend.close();
    }

    /** An operation on the rows of a batch; {@code fixed} are its weights. */
    private interface Operation {
        void run(Backend on, Tensor out, List<Tensor> rows, List<Tensor> fixed, State state, Batch batch);
    }

    /** Values of one input: a width, and how to draw a value. */
    private record Input(int width, Draw draw) {}

    private interface Draw {
        float next(Random random);
    }

    private static Input normal(int width) {
        return new Input(width, r -> (float) r.nextGaussian());
    }

    /** From nearly nothing to all, and now and then exactly 0. */
    private static Input decay(int width) {
        return new Input(width, r -> r.nextInt(20) == 0 ? 0 : (float) Math.exp(-4 * Math.pow(r.nextDouble(), 3)));
    }

    private static Input unit(int width, int head) {
        return new Input(width, r -> (float) (r.nextGaussian() / Math.sqrt(head)));
    }

    private static Input part(int width) {
        return new Input(width, Random::nextFloat);
    }

    private float[] draw(Input input, int rows) {
        float[] values = new float[rows * input.width];
        for (int i = 0; i < values.length; i++) {
            values[i] = input.draw.next(random);
        }
        return values;
    }

    static Tensor tensor(Backend on, int rows, int width, float[] values) {
        Tensor tensor = new Tensor(on.allocate(values.length + 5L), 5, rows, width);
        on.upload(tensor, values);
        return tensor;
    }

    private static float[] nan(int size) {
        float[] values = new float[size];
        Arrays.fill(values, Float.NaN);
        return values;
    }

    /** What the sequences give under one way of cutting, {@code [sequence][token * width]}. */
    private float[][] run(
            Backend on,
            Operation operation,
            int outWidth,
            int stateWidth,
            List<Input> inputs,
            float[][][] values,
            List<Tensor> fixed,
            int[] lengths,
            int longest) {
        State state = on.allocate(new State.Spec.Fixed(stateWidth), SLOTS, KvType.F32);
        int[] slots = {4, 1, 6};
        for (int slot : slots) {
            poison(on, operation, outWidth, inputs, fixed, state, slot);
        }
        int[] past = new int[lengths.length];
        float[][] results = new float[lengths.length][];
        for (int s = 0; s < lengths.length; s++) {
            results[s] = new float[lengths[s] * outWidth];
        }
        while (!Arrays.equals(past, lengths)) {
            List<Batch.Span> spans = new ArrayList<>();
            List<Integer> which = new ArrayList<>();
            int rows = 0;
            for (int s = 0; s < lengths.length; s++) {
                int left = lengths[s] - past[s];
                int count = longest == 0 ? left : Math.min(left, random.nextInt(longest + 1));
                if (count > 0) {
                    spans.add(new Batch.Span(rows, count, past[s], lengths[s], new int[0], slots[s]));
                    which.add(s);
                    rows += count;
                }
            }
            if (rows == 0) {
                continue;
            }
            List<Tensor> in = new ArrayList<>();
            for (int i = 0; i < inputs.size(); i++) {
                int width = inputs.get(i).width;
                float[] packed = new float[rows * width];
                for (int j = 0; j < spans.size(); j++) {
                    int from = past[which.get(j)] * width;
                    int to = spans.get(j).first() * width;
                    System.arraycopy(
                            values[which.get(j)][i],
                            from,
                            packed,
                            to,
                            spans.get(j).count() * width);
                }
                in.add(tensor(on, rows, width, packed));
            }
            Tensor out = tensor(on, rows, outWidth, nan(rows * outWidth));
            operation.run(on, out, in, fixed, state, new Batch(new int[rows], spans));
            float[] got = new float[rows * outWidth];
            on.download(out, got);
            for (int j = 0; j < spans.size(); j++) {
                int s = which.get(j);
                int count = spans.get(j).count();
                System.arraycopy(
                        got, spans.get(j).first() * outWidth, results[s], past[s] * outWidth, count * outWidth);
                past[s] += count;
            }
        }
        return results;
    }

    /** Leaves in a slot what a sequence of nothing but NaN leaves there. */
    private static void poison(
            Backend on,
            Operation operation,
            int outWidth,
            List<Input> inputs,
            List<Tensor> fixed,
            State state,
            int slot) {
        int tokens = 40;
        List<Tensor> in = inputs.stream()
                .map(input -> tensor(on, tokens, input.width, nan(tokens * input.width)))
                .toList();
        Batch batch = new Batch(new int[tokens], List.of(new Batch.Span(0, tokens, 0, tokens, new int[0], slot)));
        operation.run(on, tensor(on, tokens, outWidth, nan(tokens * outWidth)), in, fixed, state, batch);
    }

    private void check(
            String what,
            int outWidth,
            int stateWidth,
            List<Input> inputs,
            List<Input> weights,
            int weightRows,
            Operation operation) {
        int[] lengths = {1 + random.nextInt(70), 1 + random.nextInt(20), 33};
        float[][][] values = new float[lengths.length][inputs.size()][];
        for (int s = 0; s < lengths.length; s++) {
            for (int i = 0; i < inputs.size(); i++) {
                values[s][i] = draw(inputs.get(i), lengths[s]);
            }
        }
        List<float[]> fixedValues =
                weights.stream().map(weight -> draw(weight, weightRows)).toList();
        List<List<Tensor>> fixed = new ArrayList<>();
        for (Backend on : List.of(reference, backend)) {
            List<Tensor> mine = new ArrayList<>();
            for (int i = 0; i < weights.size(); i++) {
                mine.add(tensor(on, weightRows, weights.get(i).width, fixedValues.get(i)));
            }
            fixed.add(mine);
        }
        float[][] expected = run(reference, operation, outWidth, stateWidth, inputs, values, fixed.get(0), lengths, 0);
        float[][] whole = run(backend, operation, outWidth, stateWidth, inputs, values, fixed.get(1), lengths, 0);
        for (int s = 0; s < lengths.length; s++) {
            assertClose(what + " sequence " + s, whole[s], expected[s]);
        }
        for (int longest : new int[] {1, 3, 17, 40}) {
            for (int cut = 0; cut < CUTS; cut++) {
                float[][] again =
                        run(backend, operation, outWidth, stateWidth, inputs, values, fixed.get(1), lengths, longest);
                assertThat(again).as(what + " in pieces of up to " + longest).isDeepEqualTo(whole);
            }
        }
    }

    static void assertClose(String what, float[] actual, float[] expected) {
        double scale = 1;
        for (float value : expected) {
            scale = Math.max(scale, Math.abs(value));
        }
        for (int i = 0; i < expected.length; i++) {
            assertThat(Math.abs(actual[i] - expected[i]))
                    .as("%s at %d: %s, expected %s", what, i, actual[i], expected[i])
                    .isLessThanOrEqualTo((float) (1e-5 * scale));
        }
    }

    @Test
    void recurrencesOfEveryDecayAndRule() {
        for (int[] shape : new int[][] {{2, 8, 8}, {3, 20, 12}, {4, 16, 33}, {1, 64, 64}}) {
            int heads = shape[0];
            int keyDim = shape[1];
            int valueDim = shape[2];
            for (Decay decay : new Decay[] {Decay.NONE, Decay.HEAD, Decay.KEY, Decay.VALUE}) {
                for (Rule rule : new Rule[] {Rule.ADD, Rule.DELTA}) {
                    recurs(Recurrence.of(heads, keyDim, valueDim, decay, rule, 0.5f), false);
                }
            }
            recurs(Recurrence.of(heads, keyDim, valueDim, Decay.KEY, Rule.LOW_RANK, 1), false);
            recurs(Recurrence.of(heads, keyDim, valueDim, Decay.KEY, Rule.ADD, 1), true);
        }
    }

    @Test
    void recurrencesWhoseHeadsShareQueriesAndKeys() {
        for (Rule rule : new Rule[] {Rule.ADD, Rule.DELTA}) {
            recurs(new Recurrence(6, 2, 2, 16, 8, Decay.HEAD, rule, 1), false);
            recurs(new Recurrence(6, 1, 3, 24, 20, Decay.HEAD, rule, 1), false);
            recurs(new Recurrence(4, 4, 1, 12, 8, Decay.NONE, rule, 1), false);
            // So many that the host cuts the eleven that share into tasks of two and a last one.
            recurs(new Recurrence(22, 2, 2, 8, 4, Decay.HEAD, rule, 1), false);
        }
    }

    private void recurs(Recurrence r, boolean bonus) {
        int keys = r.keyHeads() * r.keyDim();
        int decayWidth =
                switch (r.decay()) {
                    case NONE, TABLE -> 1;
                    case HEAD -> r.heads();
                    case KEY -> r.heads() * r.keyDim();
                    case VALUE -> r.heads() * r.valueDim();
                };
        List<Input> inputs = List.of(
                normal(r.queryHeads() * r.keyDim()),
                unit(keys, r.keyDim()),
                normal(r.heads() * r.valueDim()),
                decay(decayWidth),
                part(r.heads()),
                unit(keys, 4 * r.keyDim()),
                unit(keys, 4 * r.keyDim()));
        check(
                r.toString(),
                r.heads() * r.valueDim(),
                r.stateWidth(),
                inputs,
                List.of(normal(keys)),
                1,
                (on, out, in, fixed, state, batch) -> {
                    boolean lowRank = r.rule() == Rule.LOW_RANK;
                    Update update = new Update(
                            in.get(0),
                            in.get(1),
                            in.get(2),
                            r.decay() == Decay.NONE ? null : in.get(3),
                            r.rule() == Rule.DELTA ? in.get(4) : null,
                            lowRank ? in.get(5) : null,
                            lowRank ? in.get(6) : null,
                            bonus ? fixed.get(0) : null);
                    on.recur(out, update, r, state, batch);
                });
    }

    @Test
    void aConstantDecayServesAllTokens() {
        Recurrence r = Recurrence.of(3, 8, 12, Decay.HEAD, Rule.ADD, 1);
        check(
                "constant decay",
                36,
                r.stateWidth(),
                List.of(normal(24), normal(24), normal(36)),
                List.of(decay(3)),
                1,
                (on, out, in, fixed, state, batch) ->
                        on.recur(out, Update.add(in.get(0), in.get(1), in.get(2), fixed.get(0)), r, state, batch));
    }

    @Test
    void decaysThatAreListed() {
        for (int chunk : new int[] {5, 16, 32}) {
            Recurrence r = new Recurrence(2, 2, 1, 8, 12, Decay.TABLE, Rule.ADD, 1, chunk);
            check(
                    "table of " + chunk,
                    24,
                    r.stateWidth(),
                    List.of(normal(16), normal(8), normal(24)),
                    List.of(part(r.tableWidth())),
                    2,
                    (on, out, in, fixed, state, batch) ->
                            on.recur(out, Update.add(in.get(0), in.get(1), in.get(2), fixed.get(0)), r, state, batch));
        }
    }

    @Test
    void convolutionsAndShifts() {
        for (int width : new int[] {3, 64, 70, 130}) {
            for (int kernel : new int[] {2, 3, 4}) {
                check(
                        "conv " + width + " " + kernel,
                        width,
                        (kernel - 1) * width,
                        List.of(normal(width)),
                        List.of(normal(width), normal(width)),
                        kernel,
                        (on, out, in, fixed, state, batch) -> {
                            Tensor filter = fixed.get(0).reshape(kernel);
                            on.causalConv(out, in.get(0), filter, fixed.get(1).rows(0, 1), state, batch);
                        });
            }
            check(
                    "shift " + width,
                    width,
                    width,
                    List.of(normal(width)),
                    List.of(),
                    1,
                    (on, out, in, fixed, state, batch) -> on.shift(out, in.get(0), state, batch));
        }
    }

    @Test
    void scans() {
        for (int width : new int[] {3, 64, 130}) {
            check(
                    "scan " + width,
                    width,
                    width,
                    List.of(decay(width), normal(width)),
                    List.of(),
                    1,
                    (on, out, in, fixed, state, batch) -> on.scan(out, in.get(0), in.get(1), state, batch));
            int states = 5;
            check(
                    "selective scan " + width,
                    width,
                    states * width,
                    List.of(normal(width), part(width), normal(states), normal(states)),
                    List.of(new Input(width, r -> -3 * r.nextFloat())),
                    states,
                    (on, out, in, fixed, state, batch) -> on.selectiveScan(
                            out, in.get(0), in.get(1), fixed.get(0), in.get(2), in.get(3), state, batch));
        }
    }

    @Test
    void recurrencesByLevel() {
        for (int levels : new int[] {3, 8}) {
            Recurrence r = new Recurrence(4, 2, 2, 12, 20, Decay.HEAD, Rule.ADD, 0.5f);
            check(
                    levels + " levels",
                    80,
                    4 * levels * 12 * 20,
                    List.of(normal(24), normal(24), normal(80), decay(4), part(4 * levels)),
                    List.of(),
                    1,
                    (on, out, in, fixed, state, batch) -> on.recurByLevel(
                            out, Update.add(in.get(0), in.get(1), in.get(2), in.get(3)), in.get(4), r, state, batch));
        }
    }

    @Test
    void regressions() {
        for (int keyDim : new int[] {5, 16, 33}) {
            int heads = 2;
            check(
                    "regression " + keyDim,
                    heads * 20,
                    heads * keyDim * (keyDim + 20),
                    List.of(
                            normal(heads * keyDim),
                            unit(heads * keyDim, keyDim),
                            normal(heads * 20),
                            decay(heads),
                            part(heads)),
                    List.of(new Input(keyDim, r -> 0.25f + r.nextFloat())),
                    heads,
                    (on, out, in, fixed, state, batch) -> on.regress(
                            out,
                            Update.delta(in.get(0), in.get(1), in.get(2), in.get(3), in.get(4)),
                            fixed.get(0),
                            state,
                            batch));
        }
    }

    @Test
    void modelsThatTrainAtTestTime() {
        for (int inner : new int[] {0, 24}) {
            for (int headDim : new int[] {6, 16}) {
                int heads = 2;
                int weights = inner == 0 ? headDim * headDim + headDim : 2 * headDim * inner + inner + headDim;
                float[] tokenRate = new float[16];
                for (int i = 0; i < tokenRate.length; i++) {
                    tokenRate[i] = 1f / (i + 1);
                }
                Input small = new Input(weights, r -> (float) (0.2 * r.nextGaussian()));
                int width = heads * headDim;
                int pairs = 16 * (inner == 0 ? 2 * headDim : 2 * headDim + 2 * inner);
                check(
                        "fast weights " + inner + " " + headDim,
                        width,
                        heads * (weights + pairs),
                        List.of(normal(width), normal(width), normal(width), part(heads)),
                        List.of(small, normal(headDim), normal(headDim)),
                        heads,
                        (on, out, in, fixed, state, batch) -> {
                            FastWeights model = new FastWeights(
                                    heads, headDim, inner, tokenRate, fixed.get(0), fixed.get(1), fixed.get(2), 1e-6f);
                            assertThat(model.stateWidth())
                                    .isEqualTo(state.spec().width());
                            on.trainAndRead(out, in.get(0), in.get(1), in.get(2), in.get(3), model, state, batch);
                        });
            }
        }
    }
}
