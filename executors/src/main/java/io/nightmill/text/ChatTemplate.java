package io.nightmill.text;

/** A model's own Jinja template for chats, rendered by {@link JinjaSandbox}'s library, which is made for just these templates. */
public final class ChatTemplate {
    private static final String RENDERER =
            """
            (function () {
              const templates = new Map();
              return function (source, special, request) {
                if (!templates.has(source)) templates.set(source, new module.exports.Template(source));
                return request === "" ? "" : templates.get(source).render({...JSON.parse(special), ...JSON.parse(request)});
              };
            })()
            """;

    private final JinjaSandbox sandbox = new JinjaSandbox(RENDERER);
    private final String source;
    private final String specialTokens;

    /**
     * @param source the template
     * @param specialTokens JSON object of the names that templates use, such as {@code bos_token}
     * @throws IllegalArgumentException if it is not a template
     */
    public ChatTemplate(String source, String specialTokens) {
        this.source = source;
        this.specialTokens = specialTokens;
        try {
            sandbox.call(source, specialTokens, "");
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("Cannot use the chat template: " + e.getMessage(), e);
        }
    }

    /**
     * The prompt of a conversation, up to where the assistant speaks.
     *
     * @param messages JSON list of objects with {@code role} and {@code content}
     * @throws IllegalArgumentException with the template's own message, if it refuses them
     */
    public String render(String messages) {
        return render(messages, true);
    }

    /** @param addGenerationPrompt whether the assistant's turn is opened behind the last message */
    public String render(String messages, boolean addGenerationPrompt) {
        String request = "{\"add_generation_prompt\":%s,\"messages\":%s}".formatted(addGenerationPrompt, messages);
        try {
            return sandbox.call(source, specialTokens, request);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("the chat template failed: " + e.getMessage(), e);
        }
    }
}
