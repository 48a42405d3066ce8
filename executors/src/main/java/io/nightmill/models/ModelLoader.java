package io.nightmill.models;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.HostBackend;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.StateCost;
import io.nightmill.tensor.KvType;
import io.nightmill.weights.Checkpoint;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Gguf;
import io.nightmill.weights.Weights;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.NoSuchElementException;

/** From a Hugging Face folder or a GGUF file to a model. */
public final class ModelLoader {
    private ModelLoader() {}

    /** Reads what concerns text, and no weights. */
    public static ModelText loadText(Path path) {
        return isGguf(path) ? ModelText.of(Gguf.open(path)) : ModelText.of(requireFolder(path));
    }

    /** @throws IllegalArgumentException saying what of the model is missing, wrong or unsupported */
    public static Model load(Path path, Backend backend) {
        return load(path, loadText(path), backend);
    }

    /** The same where the text side has been read already: it holds a tokenizer, of which one is enough. */
    public static Model load(Path path, ModelText text, Backend backend) {
        Checkpoint checkpoint = isGguf(path)
                ? new GgufModel(Gguf.open(path)).checkpoint(backend)
                : Checkpoint.safetensors(path, text.config(), backend);
        Decoder decoder = build(text.config(), checkpoint);
        checkpoint.requireAllRead();
        return new Model(text, decoder, checkpoint.parameters(), checkpoint.bytes());
    }

    /**
     * The network of a configuration alone, on weights from anywhere.
     *
     * @throws IllegalArgumentException as {@link #load} does
     */
    public static Decoder build(ConfigNode config, Weights weights) {
        ModelFamily family = Families.of(config.requireText("model_type"));
        try {
            return family.build(config, weights);
        } catch (ArithmeticException
                | IndexOutOfBoundsException
                | NegativeArraySizeException
                | NoSuchElementException
                | ClassCastException e) {
            // Sizes that no model has, which a family divides by, counts to or cuts at.
            throw new IllegalArgumentException(
                    "Cannot build %s: its sizes do not fit together (%s)".formatted(config, e), e);
        }
    }

    /**
     * Checks that a model can be loaded: that its architecture is known, and its tensors are there in the right shapes. Reads
     * headers only; the weights may be missing from the files.
     *
     * @param type how keys and values are to be held
     * @return what it will take
     * @throws IllegalArgumentException as {@link #load} does
     */
    public static ModelSize check(Path path, KvType type) {
        try (Backend backend = new HostBackend(1)) {
            Model model = load(path, backend);
            return new ModelSize(
                    model.parameters(),
                    model.parameters() - model.decoder().idleValues(),
                    model.weightBytes(),
                    model.decoder().vocabulary(),
                    model.text().contextLength(),
                    model.decoder().expertShare(),
                    StateCost.of(model.decoder().states(), type));
        }
    }

    private static boolean isGguf(Path path) {
        if (!Files.exists(path)) {
            throw new IllegalArgumentException("Cannot open model %s: there is no such file or folder".formatted(path));
        }
        return path.toString().endsWith(".gguf");
    }

    private static Path requireFolder(Path path) {
        if (!Files.exists(path.resolve("config.json"))) {
            throw new IllegalArgumentException(
                    "Cannot open model %s: it is neither a .gguf file nor a folder with a config.json".formatted(path));
        }
        return path;
    }
}
