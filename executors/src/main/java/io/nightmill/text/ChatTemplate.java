package io.nightmill.text;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** A model's own Jinja template for chats, rendered as transformers' {@code apply_chat_template} renders it. */
public final class ChatTemplate {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** Stands behind a last message that goes on, so that it is found again in what the template makes of it. */
    private static final String OPEN = "CONTINUE_FINAL_MESSAGE_TAG ";

    private final JinjaSandbox sandbox = new JinjaSandbox();
    private final String source;
    private final ObjectNode specialTokens;

    /**
     * @param source the template
     * @param specialTokens JSON object of the names that templates use, such as {@code bos_token}
     * @throws IllegalArgumentException if it is not a template
     */
    public ChatTemplate(String source, String specialTokens) {
        this.source = source;
        this.specialTokens = (ObjectNode) json(specialTokens);
        try {
            sandbox.read(source, false);
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
        ObjectNode request = JSON.createObjectNode();
        request.set("messages", json(messages));
        return render(request);
    }

    /**
     * @param request {@code messages}; {@code tools} and {@code documents}, lists of objects; {@code add_generation_prompt}, whether the
     *     assistant's turn is opened behind the last message (default: true); {@code continue_final_message}, whether the last message
     *     stays open instead; and whatever names the template has besides, such as {@code enable_thinking}
     * @throws IllegalArgumentException with the template's own message, if it refuses them
     */
    public String render(ObjectNode request) {
        ObjectNode names = specialTokens.deepCopy();
        names.putNull("tools").putNull("documents").put("add_generation_prompt", true);
        names.setAll(request);
        JsonNode continues = names.remove("continue_final_message");
        try {
            if (continues == null || !continues.asBoolean()) {
                return sandbox.render(source, false, names);
            }
            if (request.path("add_generation_prompt").asBoolean()) {
                throw new IllegalArgumentException(
                        "continue_final_message and add_generation_prompt exclude each other");
            }
            JsonNode messages = request.path("messages").deepCopy();
            String last = open(messages);
            names.set("messages", messages);
            return upTo(last, sandbox.render(source, false, names.put("add_generation_prompt", false)));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("the chat template failed: " + e.getMessage(), e);
        }
    }

    /** Marks the end of the last message's text, or of its last part that is text, and returns that text. */
    private static String open(JsonNode messages) {
        JsonNode last = messages.path(messages.size() - 1);
        String key = "content";
        if (last.path(key).isArray()) {
            JsonNode parts = last.path(key);
            key = "text";
            for (int i = parts.size() - 1; i >= 0 && !last.has(key); i--) {
                last = parts.get(i);
            }
        }
        if (!last.path(key).isTextual()) {
            throw new IllegalArgumentException("continue_final_message needs text in the last message");
        }
        String text = last.path(key).asText();
        ((ObjectNode) last).put(key, text + OPEN);
        return text;
    }

    private static String upTo(String last, String rendered) {
        int at = rendered.lastIndexOf(OPEN.strip());
        if (at < 0 || !rendered.contains(last.strip())) {
            throw new IllegalArgumentException(
                    "it leaves the last message out, which continue_final_message goes on from");
        }
        // A template that strips messages has stripped the mark's space, and the message's own before it.
        return rendered.startsWith(OPEN, at)
                ? rendered.substring(0, at)
                : rendered.substring(0, at).stripTrailing();
    }

    private static JsonNode json(String text) {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("it is not JSON: " + e.getOriginalMessage(), e);
        }
    }
}
