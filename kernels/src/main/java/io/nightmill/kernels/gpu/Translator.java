package io.nightmill.kernels.gpu;

import com.aparapi.Kernel;
import com.aparapi.internal.exception.AparapiException;
import com.aparapi.internal.instruction.InstructionSet.TypeSpec;
import com.aparapi.internal.model.ClassModel;
import com.aparapi.internal.model.Entrypoint;
import com.aparapi.internal.writer.KernelWriter;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Java kernels as OpenCL C, through Aparapi's code generator. No device is needed. */
final class Translator {
    private static final Pattern INCLUDE = Pattern.compile("#include \"(.*)\"");

    private Translator() {}

    enum Kind {
        INT,
        FLOAT,
        /** An array in the device's memory: a pointer, and the number of its first element. */
        ARRAY,
        /** An array that a group shares. */
        LOCAL
    }

    /** @param elementBytes of an array; {@code localBytes} of one that a group shares */
    record Parameter(String name, Kind kind, int elementBytes, int localBytes) {}

    /**
     * @param name of the kernel
     * @param parameters in the kernel's order; Aparapi adds the number of the pass, 0
     */
    record Source(String name, String text, List<Parameter> parameters) {}

    static DeviceKernel instance(Class<? extends DeviceKernel> family) {
        try {
            Constructor<? extends DeviceKernel> constructor = family.getDeclaredConstructor();
            constructor.setAccessible(true);
            return constructor.newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("Cannot make " + family, e);
        }
    }

    /** @throws IllegalStateException naming the kernel that is outside of the device's language */
    static Source translate(Class<? extends DeviceKernel> family, String entry) {
        DeviceKernel kernel = instance(family);
        try {
            Entrypoint entrypoint = ClassModel.createClassModel(family).getEntrypoint(entry, kernel);
            // Names of their own: OpenCL C has functions called clamp and mix.
            String name = family.getSimpleName() + "_" + entry;
            String text = KernelWriter.writeToString(entrypoint)
                    .replace("__kernel void " + entry + "(", "__kernel void " + name + "(");
            List<Parameter> parameters = new ArrayList<>();
            for (Field field : entrypoint.getReferencedFields()) {
                Parameter parameter = parameter(field, kernel);
                parameters.add(parameter);
                if (parameter.kind == Kind.ARRAY) {
                    text = fromElement(text, field.getName());
                }
            }
            return new Source(name, text, List.copyOf(parameters));
        } catch (AparapiException | ReflectiveOperationException | RuntimeException e) {
            throw new IllegalStateException("Cannot translate " + family.getSimpleName() + "." + entry, e);
        }
    }

    /** OpenCL C that is written by hand, with the parameters of the kernel in whose place it runs. */
    static Source tuned(Class<? extends DeviceKernel> family, String entry, String form) {
        Source translated = translate(family, entry);
        String name = entry + form;
        StringBuilder declared = new StringBuilder();
        for (Parameter parameter : translated.parameters) {
            String c = parameter.kind == Kind.INT || parameter.elementBytes == 4 && isInt(family, parameter.name)
                    ? "int"
                    : "float";
            declared.append(
                    switch (parameter.kind) {
                        case INT, FLOAT -> c + " " + parameter.name + ", ";
                        case ARRAY -> "__global " + c + " *" + parameter.name + ", long " + parameter.name + "_at, ";
                        case LOCAL -> "__local " + c + " *" + parameter.name + ", ";
                    });
        }
        String text = INCLUDE.matcher(resource(name + ".cl"))
                .replaceAll(match -> Matcher.quoteReplacement(resource(match.group(1))));
        return new Source(name, text.replace("(PARAMETERS)", "(" + declared + "int passid)"), translated.parameters);
    }

    private static String resource(String name) {
        try (InputStream in = Translator.class.getResourceAsStream(name)) {
            return new String(Objects.requireNonNull(in, name).readAllBytes(), StandardCharsets.US_ASCII);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean isInt(Class<?> family, String name) {
        try {
            return family.getDeclaredField(name).getType() == int[].class;
        } catch (NoSuchFieldException e) {
            return false;
        }
    }

    private static Parameter parameter(Field field, DeviceKernel kernel) throws ReflectiveOperationException {
        Class<?> type = field.getType();
        if (!type.isArray()) {
            return new Parameter(field.getName(), type == int.class ? Kind.INT : Kind.FLOAT, 0, 0);
        }
        String descriptor = type.getComponentType().descriptorString();
        int bytes = TypeSpec.valueOf(descriptor).getSize();
        if (!field.isAnnotationPresent(Kernel.Local.class)) {
            return new Parameter(field.getName(), Kind.ARRAY, bytes, 0);
        }
        field.setAccessible(true);
        return new Parameter(field.getName(), Kind.LOCAL, bytes, bytes * Array.getLength(field.get(kernel)));
    }

    /** Lets an array begin anywhere in its buffer, 64-bit: Java's arrays begin at 0 and are counted by int. */
    private static String fromElement(String text, String name) {
        String parameter = "*" + name + ",";
        String assignment = "this->" + name + " = " + name + ";";
        int kernel = text.indexOf("__kernel void ");
        if (text.indexOf(parameter, kernel) < 0 || !text.contains(assignment)) {
            throw new IllegalStateException("Cannot find the parameter " + name + " in what Aparapi wrote:\n" + text);
        }
        return text.substring(0, kernel)
                + text.substring(kernel)
                        .replace(parameter, parameter + " long " + name + "_at,")
                        .replace(assignment, "this->" + name + " = " + name + " + " + name + "_at;");
    }
}
