package io.nightmill.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import org.graalvm.polyglot.Context;
import org.graalvm.polyglot.HostAccess;
import org.graalvm.polyglot.PolyglotException;
import org.graalvm.polyglot.ResourceLimits;
import org.graalvm.polyglot.Value;
import org.graalvm.polyglot.io.IOAccess;

/**
 * Hugging Face's Jinja library (npm {@code @huggingface/jinja}), with Python's ways by {@code jinja-python.js}, in a JavaScript engine that
 * sees no files, no network and no Java. Text goes in and text comes out; a template that loops without end is stopped.
 */
final class JinjaSandbox {
    private static final String LIBRARY = "huggingface-jinja-0.5.11.cjs";
    private static final long MOST_STATEMENTS = 5_000_000;
    private static final int LONGEST_TEXT = 1 << 24;

    private Context context;
    private Value function;

    JinjaSandbox() {
        start();
    }

    private void start() {
        context = Context.newBuilder("js")
                .allowHostAccess(HostAccess.NONE)
                .allowIO(IOAccess.NONE)
                .option("engine.WarnInterpreterOnly", "false")
                .resourceLimits(ResourceLimits.newBuilder()
                        .statementLimit(MOST_STATEMENTS, null)
                        .build())
                .build();
        context.eval("js", "var module = {exports: {}}; var exports = module.exports;");
        context.eval("js", resource(LIBRARY));
        function = context.eval("js", resource("jinja-python.js"));
    }

    /**
     * Reads a template without rendering it.
     *
     * @throws IllegalArgumentException if it is none
     */
    void read(String template, boolean strict) {
        call(template, strict, "");
    }

    /**
     * @param strict whether a name that is not there is an error, and blocks keep the newline behind them
     * @param names object of the names that the template may use
     * @throws IllegalArgumentException with the template's own message, if it fails or does too much
     */
    String render(String template, boolean strict, JsonNode names) {
        return call(template, strict, encoded(names).toString());
    }

    /** JavaScript would change the order of keys that are numbers, and write 1.0 as 1: the script decodes this. */
    private static JsonNode encoded(JsonNode value) {
        if (!value.isContainerNode()) {
            return value.isFloatingPointNumber() ? array("f").add(value) : value;
        }
        ArrayNode all = array(value.isArray() ? "a" : "o");
        if (value.isArray()) {
            value.forEach(item -> all.add(encoded(item)));
        } else {
            value.properties().forEach(field -> all.add(field.getKey()).add(encoded(field.getValue())));
        }
        return all;
    }

    private static ArrayNode array(String kind) {
        return JsonNodeFactory.instance.arrayNode().add(kind);
    }

    private static String resource(String name) {
        try (InputStream in = JinjaSandbox.class.getResourceAsStream(name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private synchronized String call(String template, boolean strict, String names) {
        try {
            String text = function.execute(template, strict, names).asString();
            context.resetLimits();
            if (text.length() > LONGEST_TEXT) {
                throw new IllegalArgumentException(
                        "it made %d characters, expected at most %d".formatted(text.length(), LONGEST_TEXT));
            }
            return text;
        } catch (PolyglotException e) {
            if (e.isResourceExhausted() || e.isCancelled()) {
                context.close(true);
                start();
            } else {
                context.resetLimits();
            }
            throw new IllegalArgumentException(e.getMessage(), e);
        }
    }
}
