package io.nightmill.models;

import io.nightmill.layers.Decoder;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** A model family: which {@code model_type}s it builds, and of which layers. */
interface ModelFamily {
    Set<String> modelTypes();

    /** What a model type is made of, in a line. */
    String layers(String modelType);

    /**
     * Whether its outputs are held to those of its reference implementation. Where no reference could be run, a family is
     * built from its publication, and users are told.
     */
    default boolean isProven() {
        return true;
    }

    /** @throws IllegalArgumentException naming the key or tensor that does not fit */
    Decoder build(ConfigNode config, Weights weights);
}
