package io.nightmill.kernels;

import io.nightmill.tensor.Tensor;

/**
 * The small model that test-time training keeps per head: linear, {@code z = x w1 + b1}, or a perceptron, {@code z = gelu(x w1
 * + b1) w2 + b2}. Its output is {@code x + norm(z)}, its loss the squared error of {@code norm(z)} at a key against value - key.
 *
 * <p>Within a mini-batch all gradients are taken at its first weights; token {@code i} reads weights that have stepped along
 * the gradients of tokens {@code 0 .. i}, by {@code tokenRate[i] * rate[j]} each. The state holds the first weights and, for
 * each token since, the inputs and scaled gradients of both layers; the last token of a mini-batch folds them in.
 *
 * @param inner width of the perceptron's hidden layer; 0 is the linear model
 * @param tokenRate {@code [miniBatch]}
 * @param initial {@code [heads, weightWidth]}: w1 {@code [headDim, inner]}, b1, w2 {@code [inner, headDim]}, b2
 * @param normWeight {@code [heads, headDim]}
 * @param normBias {@code [heads, headDim]}
 */
public record FastWeights(
        int heads,
        int headDim,
        int inner,
        float[] tokenRate,
        Tensor initial,
        Tensor normWeight,
        Tensor normBias,
        float eps) {

    public FastWeights {
        if (initial.rows() != heads || initial.width() != weightWidth(headDim, inner)) {
            throw new IllegalArgumentException(
                    "Cannot begin %d heads of %d and %d with %s".formatted(heads, headDim, inner, initial.shape()));
        }
    }

    private static int weightWidth(int headDim, int inner) {
        return inner == 0 ? headDim * headDim + headDim : 2 * headDim * inner + inner + headDim;
    }

    public int miniBatch() {
        return tokenRate.length;
    }

    boolean isLinear() {
        return inner == 0;
    }

    public int weightWidth() {
        return weightWidth(headDim, inner);
    }

    /** Width of the first layer's output. */
    public int firstOut() {
        return inner == 0 ? headDim : inner;
    }

    int bias1() {
        return headDim * firstOut();
    }

    public int weight2() {
        return bias1() + firstOut();
    }

    public int bias2() {
        return weight2() + inner * headDim;
    }

    /** Inputs of the first layer, one row per token of the mini-batch; then its gradients, and the second layer's. */
    int inputs1() {
        return weightWidth();
    }

    public int gradients1() {
        return inputs1() + miniBatch() * headDim;
    }

    public int inputs2() {
        return gradients1() + miniBatch() * firstOut();
    }

    public int gradients2() {
        return inputs2() + miniBatch() * inner;
    }

    public int headWidth() {
        return gradients2() + (inner == 0 ? 0 : miniBatch() * headDim);
    }

    /** float32 values that one sequence keeps. */
    public int stateWidth() {
        return heads * headWidth();
    }
}
