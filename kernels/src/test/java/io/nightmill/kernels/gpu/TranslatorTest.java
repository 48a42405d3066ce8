package io.nightmill.kernels.gpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Every kernel is in the device's language. No device is needed. */
class TranslatorTest {
    private static final Pattern RESERVED = Pattern.compile(
            "\\b(double|half|kernel|global|local|constant|private|pipe|uniform|u(char|short|int|long)|(float|int)(2|3|4|8|16))\\b");

    static Stream<Arguments> kernels() {
        return Translator.FAMILIES.stream()
                .flatMap(family -> Translator.entries(family).stream().map(entry -> Arguments.of(family, entry)));
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
