package io.nightmill.layers;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.tensor.Tensor;
import io.nightmill.weights.Weights;
import java.util.ArrayList;
import java.util.List;

/** {@code down(act(gate(x)) * up(x))} (Shazeer 2020, arXiv 2002.05202). */
public record GatedMlp(Projection gate, Projection up, Linear down, Glu glu) implements FeedForward {

    /** Reads {@code gate_proj}, {@code up_proj} and {@code down_proj}. */
    public static GatedMlp from(Weights weights, int hidden, int inner, Glu glu) {
        return new GatedMlp(
                Linear.from(weights, "gate_proj", inner, hidden),
                Linear.from(weights, "up_proj", inner, hidden),
                Linear.from(weights, "down_proj", hidden, inner),
                glu);
    }

    /** @param gateUp {@code [2 * inner, hidden]}: the gate's rows, then up's */
    public static GatedMlp fused(Linear gateUp, Linear down, Glu glu) {
        int inner = gateUp.out() / 2;
        return new GatedMlp(gateUp.rows(0, inner), gateUp.rows(inner, inner), down, glu);
    }

    @Override
    public void apply(Tensor out, Tensor x, Step step) {
        int inner = gate.out();
        Tensor both = step.rows(2 * inner);
        List<Product> products = new ArrayList<>();
        gate.join(products, both, 0, x, step);
        up.join(products, both, inner, x, step);
        Projection.multiply(products, x, step);
        Tensor h = step.rows(inner);
        step.backend().glu(h, both, glu);
        down.apply(step.backend(), out, h);
    }
}
