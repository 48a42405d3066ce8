package io.nightmill.mixers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Update;
import io.nightmill.layers.Linear;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;

/**
 * mLSTM (Beck et al. 2024, arXiv 2405.04517; xLSTM 7B, 2503.13427): {@code C = f C + i k v^T, n = f n + i k, h = C^T q /
 * max(|n q|, 1)} with {@code f = sigmoid} and {@code i = exp} of gates that are capped softly. The normalizer n is one more
 * column of C. The published kernels keep C and n divided by a running maximum of the gates; under the cap, float32 holds
 * them as they are, and the quotient is the same.
 *
 * @param inputGate {@code [heads, hidden]}; so is forgetGate
 * @param cap of both gates, at most 30 so that nothing overflows
 * @param recurrence whose values are one wider than a head
 */
public record MatrixLstm(
        Linear query,
        Linear key,
        Linear value,
        Linear inputGate,
        Linear forgetGate,
        float cap,
        Recurrence recurrence,
        Linear gate,
        Readout readout)
        implements SequenceMixer {

    @Override
    public List<State.Spec> states() {
        return List.of(new State.Spec.Fixed(recurrence.stateWidth()));
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int headDim = recurrence.valueDim() - 1;
        Tensor write = capped(inputGate, x, step);
        backend.activate(write, write, Activation.EXP);
        Tensor decay = capped(forgetGate, x, step);
        backend.activate(decay, decay, Activation.SIGMOID);

        Tensor v = value.of(x, step);
        backend.multiply(v.reshape(headDim), v.reshape(headDim), write.reshape(1));
        Tensor values = step.rows(recurrence.heads() * recurrence.valueDim());
        Tensor byHead = values.reshape(recurrence.valueDim());
        backend.copyColumns(byHead, 0, v.reshape(headDim), 0, headDim);
        backend.copyColumns(byHead, headDim, write.reshape(1), 0, 1);

        Tensor read = step.rows(values.width());
        Update update = Update.add(query.of(x, step), key.of(x, step), values, decay);
        backend.recur(read, update, recurrence, states.get(0), step.batch());
        Tensor y = step.rows(v.width());
        Tensor norm = step.rows(recurrence.heads());
        backend.copyColumns(y.reshape(headDim), 0, read.reshape(recurrence.valueDim()), 0, headDim);
        backend.copyColumns(norm.reshape(1), 0, read.reshape(recurrence.valueDim()), headDim, 1);
        backend.activate(norm, norm, Activation.NORMALIZER);
        backend.multiply(y.reshape(headDim), y.reshape(headDim), norm.reshape(1));
        readout.apply(out, y, gate.of(x, step), step);
    }

    private Tensor capped(Linear projection, Tensor x, Step step) {
        Tensor y = projection.of(x, step);
        step.backend().softcap(y, cap);
        return y;
    }
}
