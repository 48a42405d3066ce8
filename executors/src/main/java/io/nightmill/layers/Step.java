package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** One pass of a batch through the decoder: where to compute, what, and the rotary tables that its layers share. */
public final class Step {
    private final Backend backend;
    private final Batch batch;
    private final Scratch scratch;
    private final Map<Rope, Tensor> tables = new HashMap<>();
    private final ExpertLoad load;
    private final Map<SequenceMixer, List<State>> held = new IdentityHashMap<>();
    private int layer;
    private @Nullable Tensor carried;
    private @Nullable Tensor started;

    public Step(Backend backend, Batch batch, Scratch scratch, ExpertLoad load) {
        this.load = load;
        this.backend = backend;
        this.batch = batch;
        this.scratch = scratch;
    }

    public Backend backend() {
        return backend;
    }

    public Batch batch() {
        return batch;
    }

    public Scratch scratch() {
        return scratch;
    }

    /** A scratch tensor with a row per token. */
    public Tensor rows(int width) {
        return scratch.tensor(batch.size(), width);
    }

    /** Lets later layers read a mixer's states. */
    public void hold(SequenceMixer mixer, List<State> states) {
        held.put(mixer, states);
    }

    /** The states that a mixer before this one has left for others. */
    public List<State> held(SequenceMixer mixer) {
        return held.get(mixer);
    }

    void enter(int branch) {
        layer = branch;
    }

    /** Notes which experts the layer at hand chose. */
    void countChoices(Routes routes) {
        backend.countChoices(load.of(layer), routes);
    }

    void carry(Tensor embedded) {
        carried = rows(embedded.width());
        backend.copyColumns(carried, 0, embedded, 0, embedded.width());
        started = rows(1);
        float[] values = new float[batch.size()];
        Arrays.fill(values, 1);
        batch.spans().stream().filter(span -> span.past() == 0).forEach(span -> values[span.first()] = 0);
        backend.upload(started, values);
    }

    /** {@code [tokens, hidden]}: the embedded rows, until a layer leaves other rows here for those after it. */
    public Tensor carried() {
        return carried;
    }

    /** {@code [tokens, 1]}: 0 for the first token of a sequence, 1 for the others. */
    public Tensor started() {
        return started;
    }

    /** Makes the tables of a rope for the step's tokens; called before the first branch, so that they outlive it. */
    void prepare(Rope rope) {
        if (tables.containsKey(rope)) {
            return;
        }
        Tensor table = rows(rope.rotary());
        float[] values = new float[batch.size() * rope.rotary()];
        for (Batch.Span span : batch.spans()) {
            rope.write(span.past(), span.count(), span.length(), values, span.first() * rope.rotary());
        }
        backend.upload(table, values);
        tables.put(rope, table);
    }

    /** {@code [tokens, rotary]}: cosines and sines of each token's position. */
    public Tensor table(Rope rope) {
        return tables.get(rope);
    }
}
