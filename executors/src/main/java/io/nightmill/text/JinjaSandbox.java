package io.nightmill.text;

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
 * Hugging Face's Jinja library (npm {@code @huggingface/jinja}) in a JavaScript engine that sees no files, no network and no Java.
 * Text goes in and text comes out; a template that loops without end is stopped.
 */
final class JinjaSandbox {
    private static final String LIBRARY = "huggingface-jinja-0.5.11.cjs";
    private static final long MOST_STATEMENTS = 5_000_000;
    private static final int LONGEST_TEXT = 1 << 24;

    private final String script;
    private Context context;
    private Value function;

    /** @param script makes the function that {@link #call} calls; the library is in {@code module.exports} */
    JinjaSandbox(String script) {
        this.script = script;
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
        function = context.eval("js", script);
    }

    static String resource(String name) {
        try (InputStream in = JinjaSandbox.class.getResourceAsStream(name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** @throws IllegalArgumentException with the template's own message, if it fails or does too much */
    synchronized String call(String... arguments) {
        try {
            String text = function.execute((Object[]) arguments).asString();
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
