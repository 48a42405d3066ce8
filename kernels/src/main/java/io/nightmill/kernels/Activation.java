package io.nightmill.kernels;

/** Pointwise functions, by the names of Hugging Face's {@code hidden_act}. */
public enum Activation {
    SILU,
    GELU,
    GELU_TANH,
    RELU,
    SIGMOID,
    TANH;

    /** @throws IllegalArgumentException naming the known functions */
    public static Activation of(String name) {
        return switch (name) {
            case "silu", "swish" -> SILU;
            case "gelu" -> GELU;
            case "gelu_pytorch_tanh", "gelu_new", "gelu_fast" -> GELU_TANH;
            case "relu" -> RELU;
            case "sigmoid" -> SIGMOID;
            case "tanh" -> TANH;
            default -> throw new IllegalArgumentException("Cannot use activation '" + name
                    + "', known are silu, gelu, gelu_pytorch_tanh, gelu_new, relu, sigmoid, tanh");
        };
    }
}
