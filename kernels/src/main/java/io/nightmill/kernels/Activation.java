package io.nightmill.kernels;

/** Pointwise functions, by the names of Hugging Face's {@code hidden_act}. */
public enum Activation {
    SILU,
    GELU,
    GELU_TANH,
    RELU,
    /** {@code max(0, x)^2} (So et al. 2021, arXiv 2109.08668). */
    RELU2,
    SIGMOID,
    TANH,
    /** {@code log(1 + exp(x))}. */
    SOFTPLUS,
    /** {@code log(sigmoid(x))}. */
    LOG_SIGMOID,
    EXP,
    ONE_MINUS,
    /** {@code sqrt(1 - x^2)}, the input's share where {@code x} is what a state keeps. */
    COMPLEMENT,
    /** {@code 1 / max(|x|, 1)}, by which mLSTM (arXiv 2405.04517) norms what it reads. */
    NORMALIZER;

    /** @throws IllegalArgumentException naming the known functions */
    public static Activation of(String name) {
        return switch (name) {
            case "silu", "swish" -> SILU;
            case "gelu" -> GELU;
            case "gelu_pytorch_tanh", "gelu_new", "gelu_fast" -> GELU_TANH;
            case "relu" -> RELU;
            case "relu2", "sqrelu" -> RELU2;
            case "sigmoid" -> SIGMOID;
            case "tanh" -> TANH;
            default -> throw new IllegalArgumentException("Cannot use activation '" + name
                    + "', known are silu, gelu, gelu_pytorch_tanh, gelu_new, relu, relu2, sqrelu, sigmoid, tanh");
        };
    }
}
