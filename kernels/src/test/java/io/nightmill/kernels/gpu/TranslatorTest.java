package io.nightmill.kernels.gpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URISyntaxException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Every kernel is in the device's language. No device is needed. */
class TranslatorTest {
    private static final Pattern RESERVED = Pattern.compile(
            "\\b(double|half|kernel|global|local|constant|private|pipe|uniform|u(char|short|int|long)|(float|int)(2|3|4|8|16))\\b");

    /** Each public method of each family that this package has. */
    static Stream<Arguments> kernels() throws IOException, URISyntaxException {
        List<Arguments> kernels = new ArrayList<>();
        Path compiled = Path.of(
                        DeviceKernel.class.getResource("DeviceKernel.class").toURI())
                .getParent();
        try (DirectoryStream<Path> families = Files.newDirectoryStream(compiled, "*Kernels.class")) {
            for (Path family : families) {
                String name = family.getFileName().toString().replace(".class", "");
                Class<? extends DeviceKernel> type = Class.forName(DeviceKernel.class.getPackageName() + "." + name)
                        .asSubclass(DeviceKernel.class);
                for (Method method : type.getDeclaredMethods()) {
                    if (Modifier.isPublic(method.getModifiers()) && method.getParameterCount() == 0) {
                        kernels.add(Arguments.of(type, method.getName()));
                    }
                }
            }
        } catch (ClassNotFoundException e) {
            throw new IllegalStateException(e);
        }
        return kernels.stream();
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void isTranslated(Class<? extends DeviceKernel> family, String entry) {
        Translator.Source source = Translator.translate(family, entry);
        assertThat(source.text()).contains("__kernel void " + source.name() + "(");
        assertThat(source.text()).as("words of OpenCL C that are none of Java").doesNotContainPattern(RESERVED);
        for (Translator.Parameter parameter : source.parameters()) {
            boolean array = parameter.kind() == Translator.Kind.ARRAY;
            assertThat(source.text().contains("long " + parameter.name() + "_at"))
                    .isEqualTo(array);
        }
    }
}
