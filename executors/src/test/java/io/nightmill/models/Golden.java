package io.nightmill.models;

import com.fasterxml.jackson.databind.JsonNode;
import io.nightmill.weights.ConfigNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The golden fixtures of the families that are supported. */
final class Golden {
    private Golden() {}

    static Stream<Path> folders() {
        List<String> supported = Families.modelTypes();
        Stream<Path> real = Stream.of("stories260K-hf", "aidreams260K", "stories-hybrid-moe")
                .map(root().resolveSibling("real")::resolve);
        try (Stream<Path> list = Files.list(root())) {
            return Stream.concat(list, real)
                    .filter(folder ->
                            Files.exists(folder.resolve("golden.json")) && Files.exists(folder.resolve("config.json")))
                    .filter(folder -> supported.contains(modelType(folder.resolve("config.json"))))
                    .sorted()
                    .toList()
                    .stream();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Those, and other configurations of the families, made by {@code tests/reference/variants.py}. */
    static Stream<Path> all() {
        try (Stream<Path> list = Files.list(Path.of("src/test/resources/variants"))) {
            return Stream.concat(folders(), list.sorted().toList().stream());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Path root() {
        return Path.of(System.getProperty("nightmill.shared", "../../shared")).resolve("golden");
    }

    /** For another configuration of the same weights. */
    static void linkWeights(Path folder, Path other) throws IOException {
        String name = "model.safetensors";
        Files.createSymbolicLink(other.resolve(name), folder.resolve(name).toAbsolutePath());
    }

    static String modelType(Path config) {
        return ConfigNode.read(config).textOr("model_type", "");
    }

    static int[] ints(JsonNode list) {
        int[] values = new int[list.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = list.get(i).asInt();
        }
        return values;
    }
}
