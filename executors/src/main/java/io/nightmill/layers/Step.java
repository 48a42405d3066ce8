package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
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
    }

    /** {@code [tokens, hidden]}: the embedded rows, until a layer leaves other rows here for those after it. */
    public Tensor carried() {
        return carried;
    }

    /** Makes the tables of a rope for the step's tokens; called before the first branch, so that they outlive it. */
    void prepare(Rope rope) {
        if (tables.containsKey(rope)) {
            return;
        }
        Tensor table = rows(rope.rotary());
        rope.fill(table, batch, backend);
        tables.put(rope, table);
    }

    /** {@code [tokens, rotary]}: cosines and sines of each token's position. */
    public Tensor table(Rope rope) {
        return tables.get(rope);
    }
}
