package io.nightmill.kernels;

import io.nightmill.kernels.Recurrence.Decay;
import io.nightmill.kernels.Recurrence.Rule;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class OpenClRecurrenceTest extends RecurrenceSuite {
    @Override
    Backend backend() {
        return new GpuBackend(OpenClDevice.open(0));
    }

    /** Scores of pairs have 64 MB, which is room for some heads at a time. */
    @Test
    void headsThatTakeTurns() {
        int tokens = 1000;
        Recurrence r = Recurrence.of(1100, 1, 1, Decay.HEAD, Rule.DELTA, 1);
        assertClose("heads", run(backend(), r, tokens), run(new ReferenceBackend(), r, tokens));
    }

    private static float[] run(Backend on, Recurrence r, int tokens) {
        Random random = new Random(3);
        int size = tokens * r.heads();
        Tensor[] in = new Tensor[5];
        for (int i = 0; i < in.length; i++) {
            float[] values = new float[size];
            for (int j = 0; j < size; j++) {
                values[j] = random.nextFloat();
            }
            in[i] = tensor(on, tokens, r.heads(), values);
        }
        Tensor out = tensor(on, tokens, r.heads(), new float[size]);
        State state = on.allocate(new State.Spec.Fixed(r.stateWidth()), 1, KvType.F32);
        Batch batch = new Batch(new int[tokens], List.of(new Batch.Span(0, tokens, 0, tokens, new int[0], 0)));
        on.recur(out, Update.delta(in[0], in[1], in[2], in[3], in[4]), r, state, batch);
        float[] values = new float[size];
        on.download(out, values);
        on.close();
        return values;
    }
}
