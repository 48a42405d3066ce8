package io.nightmill.pipeline;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.ModelText;
import io.nightmill.text.ChatTemplate;
import java.io.Serializable;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How conversations become prompts.
 *
 * @param template a Jinja template that goes before the model's own, or null
 * @param kwargs JSON object of the template's own names, such as {@code enable_thinking}; those of a row go before
 */
public record ChatOptions(@Nullable String template, String kwargs) implements Serializable {
    /** Columns of a row beside its messages, by vLLM's names. */
    static final List<String> COLUMNS =
            List.of("tools", "chat_template_kwargs", "add_generation_prompt", "continue_final_message");

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String KWARGS = "chat_template_kwargs";
    public static final ChatOptions MODELS_OWN = new ChatOptions(null, "{}");

    /** @throws IllegalArgumentException if kwargs is no object */
    public ChatOptions {
        object(kwargs, "chat-template-kwargs");
    }

    /**
     * The same, with the template tried: that takes a second, which is not to pass in every task that gets the options.
     *
     * @throws IllegalArgumentException if the template is none, or kwargs is no object
     */
    public static ChatOptions checked(@Nullable String template, String kwargs) {
        if (template != null) {
            new ChatTemplate(template, "{}");
        }
        return new ChatOptions(template, kwargs);
    }

    /** @throws IllegalArgumentException if there is no template, neither here nor with the model */
    public ChatTemplate template(ModelText text) {
        return template == null ? text.chatTemplate() : new ChatTemplate(template, text.specialTokens());
    }

    /** The names that a template is rendered with, without messages. */
    public ObjectNode request() {
        return object(kwargs, KWARGS);
    }

    /**
     * @param messages a row's, as JSON
     * @param own the row's {@link #COLUMNS} as a JSON object, in which texts are JSON again; or null
     * @throws IllegalArgumentException naming the column that is not as it should be
     */
    ObjectNode request(String messages, @Nullable String own) {
        ObjectNode request = request();
        ObjectNode row = own == null ? JSON.createObjectNode() : object(own, "row");
        for (String column : COLUMNS) {
            JsonNode value = row.path(column);
            if (value.isTextual()) {
                value = json(value.asText(), column);
            }
            if (column.equals(KWARGS) && !value.isMissingNode()) {
                request.setAll(object(value, column));
            } else if (!value.isMissingNode()) {
                request.set(column, value);
            }
        }
        JsonNode list = json(messages, "messages");
        if (!list.isArray()) {
            throw new IllegalArgumentException("the messages are no list");
        }
        return request.set("messages", list);
    }

    private static ObjectNode object(String text, String name) {
        return object(json(text, name), name);
    }

    private static ObjectNode object(JsonNode value, String name) {
        if (value instanceof ObjectNode object) {
            return object;
        }
        throw new IllegalArgumentException("Cannot read %s: it is %s, expected an object".formatted(name, value));
    }

    private static JsonNode json(String text, String name) {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    "Cannot read %s: it is not JSON: %s".formatted(name, e.getOriginalMessage()), e);
        }
    }
}
