package io.nightmill.kernels.gpu;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.provider.Arguments;

/** Writes the OpenCL C of what GPUs run into a folder, for compilers that are no drivers (tests/gpu/ptx). */
final class KernelSources {
    private KernelSources() {}

    public static void main(String[] args) throws IOException, URISyntaxException {
        Path folder = Files.createDirectories(Path.of(args[0]));
        for (Arguments kernel : TranslatorTest.kernels().toList()) {
            @SuppressWarnings("unchecked")
            Class<? extends DeviceKernel> family = (Class<? extends DeviceKernel>) kernel.get()[0];
            write(folder, Translator.translate(family, (String) kernel.get()[1]));
        }
        for (String form : List.of("Tile", "Blocks", "MatrixFew", "MatrixMany")) {
            write(folder, Translator.tuned(ProductKernels.class, "product", form));
        }
        write(folder, Translator.tuned(ProductKernels.class, "widen", "Blocks"));
    }

    private static void write(Path folder, Translator.Source source) throws IOException {
        Files.writeString(folder.resolve(source.name() + ".cl"), source.text());
    }
}
