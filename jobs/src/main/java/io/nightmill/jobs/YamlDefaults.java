package io.nightmill.jobs;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.commons.text.similarity.LevenshteinDistance;
import org.jspecify.annotations.Nullable;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.YAMLException;
import picocli.CommandLine.IDefaultValueProvider;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/** A job file's values as the defaults of options: the same names, with dashes or underscores. */
final class YamlDefaults implements IDefaultValueProvider {
    private final Map<String, String> values = new LinkedHashMap<>();

    /** @throws IllegalArgumentException naming the file and the first key that is no option, with the nearest that is */
    YamlDefaults(Path file, CommandSpec command) {
        Object content;
        try {
            content = new Yaml(new SafeConstructor(new LoaderOptions())).load(Files.readString(file));
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read --config " + file, e);
        } catch (YAMLException e) {
            throw new IllegalArgumentException("Cannot read --config %s: %s".formatted(file, e.getMessage()), e);
        }
        if (!(content instanceof Map<?, ?> map)) {
            throw new IllegalArgumentException("Cannot read --config %s: expected a map of options".formatted(file));
        }
        Collection<String> known = command.optionsMap().keySet();
        map.forEach((key, value) -> {
            String option = "--" + String.valueOf(key).replace('_', '-');
            if (!known.contains(option)) {
                throw new IllegalArgumentException("Cannot use key '%s' of --config %s: the nearest option is %s"
                        .formatted(key, file, nearest(option, known)));
            }
            values.put(option, text(value));
        });
    }

    private static String text(@Nullable Object value) {
        if (value instanceof List<?> list) {
            return list.stream().map(String::valueOf).collect(Collectors.joining(","));
        }
        return String.valueOf(value);
    }

    @Override
    public @Nullable String defaultValue(ArgSpec argument) {
        if (argument instanceof OptionSpec option) {
            for (String name : option.names()) {
                if (values.containsKey(name)) {
                    return values.get(name);
                }
            }
        }
        return argument.defaultValue();
    }

    static String nearest(String option, Collection<String> known) {
        return new TreeSet<>(known)
                .stream()
                        .min(Comparator.comparingInt(other ->
                                LevenshteinDistance.getDefaultInstance().apply(option, other)))
                        .orElse("");
    }
}
