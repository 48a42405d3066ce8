package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.AbstractConstruct;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.YAMLException;
import org.yaml.snakeyaml.nodes.Node;
import org.yaml.snakeyaml.nodes.ScalarNode;
import org.yaml.snakeyaml.nodes.Tag;

/**
 * A task file with what it includes. {@code !function module.name} becomes an object <code>{"!function": "folder/module.name"}</code>
 * with the name of the folder that its file lies in, since modules of other tasks have the same names.
 */
final class TaskYaml {
    static final String FUNCTION = "!function";
    private static final ObjectMapper JSON = new ObjectMapper();

    private TaskYaml() {}

    /** @throws IllegalArgumentException naming the file, if it is not YAML, not a map, or includes itself */
    static ObjectNode read(Path file) {
        return read(file, new HashSet<>());
    }

    private static ObjectNode read(Path file, Set<Path> open) {
        Path path = file.toAbsolutePath().normalize();
        if (!open.add(path)) {
            throw new IllegalArgumentException("Cannot read the task file %s: it includes itself".formatted(path));
        }
        ObjectNode own = load(path);
        JsonNode include = own.remove("include");
        ObjectNode all = JSON.createObjectNode();
        List<String> includes = new ArrayList<>();
        if (include != null) {
            (include.isArray() ? include : JSON.createArrayNode().add(include))
                    .forEach(name -> includes.add(name.asText()));
        }
        // The first that is named goes before the others.
        Collections.reverse(includes);
        for (String name : includes) {
            Path other = path.resolveSibling(name);
            if (!Files.isRegularFile(other)) {
                throw new IllegalArgumentException(
                        "Cannot read the task file %s: it includes %s, which is not there".formatted(path, other));
            }
            all.setAll(read(other, open));
        }
        open.remove(path);
        all.setAll(own);
        return all;
    }

    private static ObjectNode load(Path file) {
        try {
            Object content =
                    new Yaml(new Functions(file.getParent().getFileName().toString())).load(Files.readString(file));
            if (content instanceof Map<?, ?>) {
                return JSON.valueToTree(content);
            }
            throw new IllegalArgumentException("Cannot read the task file %s: expected a map of keys".formatted(file));
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read the task file " + file, e);
        } catch (YAMLException e) {
            throw new IllegalArgumentException("Cannot read the task file %s: %s".formatted(file, e.getMessage()), e);
        }
    }

    /** YAML without Java objects, and with the harness's one tag. */
    private static final class Functions extends SafeConstructor {
        Functions(String folder) {
            super(new LoaderOptions());
            yamlConstructors.put(new Tag(FUNCTION), new AbstractConstruct() {
                @Override
                public Object construct(Node node) {
                    return Map.of(FUNCTION, folder + "/" + ((ScalarNode) node).getValue());
                }
            });
        }
    }
}
