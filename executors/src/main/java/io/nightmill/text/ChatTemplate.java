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
 * A model's own Jinja template for chats, rendered by Hugging Face's Jinja library (npm {@code @huggingface/jinja}), which
 * is made for just these templates. It runs in a JavaScript engine that sees no files, no network and no Java; data goes
 * in as JSON and text comes out. A template that loops without end is stopped.
 */
public final class ChatTemplate {
    private static final String LIBRARY = "huggingface-jinja-0.5.11.cjs";
    private static final long MOST_STATEMENTS = 5_000_000;
    private static final int LONGEST_TEXT = 1 << 24;
    private static final String RENDERER =
            """
            (function (source, special) {
              const template = new module.exports.Template(source);
              return function (request) {
                return template.render({...JSON.parse(special), ...JSON.parse(request)});
              };
            })
            """;

    private final String source;
    private final String specialTokens;
    private Context context;
    private Value renderer;

    /**
     * @param source the template
     * @param specialTokens JSON object of the names that templates use, such as {@code bos_token}
     * @throws IllegalArgumentException if it is not a template
     */
    public ChatTemplate(String source, String specialTokens) {
        this.source = source;
        this.specialTokens = specialTokens;
        start();
    }

    private void start() {
        Context started = Context.newBuilder("js")
                .allowHostAccess(HostAccess.NONE)
                .allowIO(IOAccess.NONE)
                .option("engine.WarnInterpreterOnly", "false")
                .resourceLimits(ResourceLimits.newBuilder()
                        .statementLimit(MOST_STATEMENTS, null)
                        .build())
                .build();
        try (InputStream library = ChatTemplate.class.getResourceAsStream(LIBRARY)) {
            started.eval("js", "var module = {exports: {}}; var exports = module.exports;");
            started.eval("js", new String(library.readAllBytes(), StandardCharsets.UTF_8));
            renderer = started.eval("js", RENDERER).execute(source, specialTokens);
            context = started;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (PolyglotException e) {
            started.close(true);
            throw new IllegalArgumentException("Cannot use the chat template: " + e.getMessage(), e);
        }
    }

    /**
     * The prompt of a conversation, up to where the assistant speaks.
     *
     * @param messages JSON list of objects with {@code role} and {@code content}
     * @throws IllegalArgumentException with the template's own message, if it refuses them
     */
    public synchronized String render(String messages) {
        try {
            String text = renderer.execute("{\"add_generation_prompt\":true,\"messages\":" + messages + "}")
                    .asString();
            if (text.length() > LONGEST_TEXT) {
                throw new IllegalArgumentException("the chat template made %d characters, expected at most %d"
                        .formatted(text.length(), LONGEST_TEXT));
            }
            context.resetLimits();
            return text;
        } catch (PolyglotException e) {
            if (e.isResourceExhausted() || e.isCancelled()) {
                context.close(true);
                start();
            } else {
                context.resetLimits();
            }
            throw new IllegalArgumentException("the chat template failed: " + e.getMessage(), e);
        }
    }
}
