package io.nightmill.models;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Files that llama.cpp's own converter wrote of the variants ({@code tests/reference/convert_gguf.py}), held to the same reference. */
class GgufConvertedTest {
    static List<Path> files() {
        try (Stream<Path> files = Files.list(Path.of("src/test/resources/gguf"))) {
            return files.sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @ParameterizedTest
    @MethodSource("files")
    void convertedVariantMatchesReferenceImplementation(Path file) {
        String name = file.getFileName().toString().replace(".gguf", "");
        GoldenTest.check(Path.of("src/test/resources/variants", name), file);
    }
}
