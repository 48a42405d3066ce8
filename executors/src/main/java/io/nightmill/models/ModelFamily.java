package io.nightmill.models;

import io.nightmill.layers.Decoder;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.Set;

/** A model family: which {@code model_type}s it builds, and of which layers. */
interface ModelFamily {
    Set<String> modelTypes();

    /** @throws IllegalArgumentException naming the key or tensor that does not fit */
    Decoder build(ConfigNode config, Weights weights);
}
