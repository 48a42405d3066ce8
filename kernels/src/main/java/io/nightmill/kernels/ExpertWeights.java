package io.nightmill.kernels;

import io.nightmill.kernels.Backend.Glu;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a layer's experts.
 *
 * <p>Without a gate, {@code projections} is one list of {@code [inner, hidden]}, and the activation of {@code glu} is all there is.
 *
 * @param projections one list of {@code [inner, hidden]} per expert for gate and for up, or one of {@code [2 inner, hidden]}
 * @param biases {@code [experts, out]} for each projection, or empty
 * @param down {@code [hidden, inner]} per expert
 */
public record ExpertWeights(
        List<List<Matrix>> projections, List<Tensor> biases, List<Matrix> down, @Nullable Tensor downBias, Glu glu) {

    /** The projections and down. */
    List<List<Matrix>> all() {
        List<List<Matrix>> all = new ArrayList<>(projections);
        all.add(down);
        return all;
    }

    public int inner() {
        return down.get(0).in();
    }

    /** Outputs of all projections of an expert. */
    public int width() {
        return projections.stream().mapToInt(list -> list.get(0).out()).sum();
    }

    public boolean hasGate() {
        return width() > inner();
    }

    /** The biases of a projection. */
    @Nullable
    Tensor bias(int projection) {
        return biases.isEmpty() ? null : biases.get(projection);
    }

    /** From the projections of a row, on the host, to what meets {@link #down}. */
    void activate(float[] both, int from, float[] h, int to, Lanes lanes) {
        if (hasGate()) {
            HostBackend.glu(glu, both, from, h, to, inner(), lanes);
        } else {
            lanes.activate(glu.activation(), both, from, h, to, inner());
        }
    }

    /** The projections side by side, {@code [rows, width]}. */
    public List<Product> into(Tensor out) {
        List<Product> products = new ArrayList<>();
        int column = 0;
        for (int i = 0; i < projections.size(); i++) {
            products.add(new Product(out, column, projections.get(i), bias(i)));
            column += projections.get(i).get(0).out();
        }
        return products;
    }
}
