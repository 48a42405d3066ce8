package io.nightmill.weights;

import io.nightmill.kernels.Products;
import io.nightmill.tensor.KvType;

/** {@code --dtype}: in what precision weights take part. Sums are in float32 always. */
public enum Precision {
    /** As stored; widened exactly in registers. */
    AUTO,
    /** As stored, every product exact in float32: the mode in which golden fixtures are held. */
    F32,
    /** The large products in bfloat16 with sums in float32, where the CPU has instructions for it. */
    BF16,
    /** The large products with weights of a byte and activations of fifteen bits, see {@link Products#INT8}. */
    INT8,
    /** The large products with weights of four bits, see {@link Products#INT4}. */
    INT4;

    /**
     * @param name also as vLLM writes it
     * @throws IllegalArgumentException naming the known precisions
     */
    public static Precision of(String name) {
        return switch (name) {
            case "auto" -> AUTO;
            case "f32", "float32", "float" -> F32;
            case "bf16", "bfloat16" -> BF16;
            case "int8" -> INT8;
            case "int4" -> INT4;
            default -> throw new IllegalArgumentException(
                    "Cannot use dtype '" + name + "', expected auto, f32, bf16, int8 or int4");
        };
    }

    /** The arithmetic of the large products. */
    public Products products() {
        return switch (this) {
            case AUTO, F32 -> Products.EXACT;
            case BF16 -> Products.BF16;
            case INT8 -> Products.INT8;
            case INT4 -> Products.INT4;
        };
    }

    /**
     * {@code --kv-dtype}: how keys and values are held.
     *
     * @param name auto is float32 where the products are exact, else bfloat16
     */
    public KvType kvType(String name) {
        if (!name.equals("auto")) {
            return KvType.of(name);
        }
        return products() == Products.EXACT ? KvType.F32 : KvType.BF16;
    }
}
