package io.nightmill.models;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.nightmill.tensor.KvType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.junit.jupiter.api.io.TempDir;

/**
 * Hostile model files end in an {@link IllegalArgumentException}, whatever is in them. As a test this runs the kept corpus
 * ({@code src/test/resources/.../ModelFilesFuzzTestInputs}); {@code JAZZER_FUZZ=1 ./mvnw -pl executors test
 * -Dtest=ModelFilesFuzzTest#gguf} looks for more.
 */
class ModelFilesFuzzTest {
    @TempDir
    Path temp;

    /** What may be wrong with a file is said so; anything else is a finding. */
    private static void check(Path model) {
        try {
            ModelLoader.check(model, KvType.F32);
        } catch (IllegalArgumentException e) {
            if (e.getMessage() == null || e.getMessage().isBlank()) {
                throw new AssertionError("no message", e);
            }
        }
    }

    @FuzzTest(maxDuration = "2m")
    void gguf(byte[] bytes) throws IOException {
        check(Files.write(temp.resolve("fuzz.gguf"), bytes));
    }

    @FuzzTest(maxDuration = "2m")
    void safetensors(byte[] bytes) throws IOException {
        Files.copy(
                Golden.root().resolve("llama/config.json"),
                temp.resolve("config.json"),
                StandardCopyOption.REPLACE_EXISTING);
        Files.write(temp.resolve("model.safetensors"), bytes);
        check(temp);
    }

    @FuzzTest(maxDuration = "2m")
    void config(byte[] bytes) throws IOException {
        Files.write(temp.resolve("config.json"), bytes);
        Path weights = temp.resolve("model.safetensors");
        if (!Files.exists(weights)) {
            Files.copy(Golden.root().resolve("llama/model.safetensors"), weights);
        }
        check(temp);
    }
}
