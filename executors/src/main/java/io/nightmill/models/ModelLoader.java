package io.nightmill.models;

import io.nightmill.kernels.Backend;
import io.nightmill.layers.Decoder;
import io.nightmill.weights.Checkpoint;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Precision;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;

/** From a folder or a GGUF file to a model. */
public final class ModelLoader {
    private ModelLoader() {}

    /** @throws IllegalArgumentException saying what of the model is missing, wrong or unsupported */
    public static Model load(Path path, Backend backend, Precision precision) {
        ConfigNode config = ConfigNode.read(path.resolve("config.json"));
        Checkpoint checkpoint = Checkpoint.safetensors(path, config, backend, precision);
        Decoder decoder = Families.of(config.requireText("model_type")).build(config, checkpoint);
        checkpoint.requireAllRead();
        Set<Integer> ends = new TreeSet<>(config.ints("eos_token_id"));
        Path generation = path.resolve("generation_config.json");
        if (Files.exists(generation)) {
            ends.addAll(ConfigNode.read(generation).ints("eos_token_id"));
        }
        return new Model(
                config,
                decoder,
                null,
                null,
                ends,
                Ropes.contextLength(config),
                checkpoint.parameters(),
                checkpoint.bytes());
    }
}
