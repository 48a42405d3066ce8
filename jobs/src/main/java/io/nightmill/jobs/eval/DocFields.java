package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.Fields;
import io.nightmill.text.Jinja;
import org.jspecify.annotations.Nullable;

/**
 * What a document says to a task's {@code doc_to_text}, {@code doc_to_target} and {@code doc_to_choice}: a column of that name, a
 * template, a fixed value, or a function. Not for several threads.
 */
final class DocFields {
    private static final JsonNodeFactory MAKE = JsonNodeFactory.instance;

    private final Jinja jinja = new Jinja();

    /** A text, or a number where choices are inputs. */
    JsonNode text(Fields fields, ObjectNode doc) {
        return textOr(fields.text(), fields, doc);
    }

    /** A text, the number of a choice, or a list of either. */
    JsonNode target(Fields fields, ObjectNode doc) {
        JsonNode value = textOr(fields.target(), fields, doc);
        boolean isTemplate =
                fields.target().isTextual() && !doc.has(fields.target().asText());
        if (isTemplate && value.isTextual() && value.textValue().matches("(?s)\\[.*]")) {
            try {
                return Python.literal(value.textValue());
            } catch (IllegalArgumentException e) {
                // It only looks like a list.
                return value;
            }
        }
        return value;
    }

    private JsonNode textOr(JsonNode field, Fields fields, ObjectNode doc) {
        if (field.has(TaskYaml.FUNCTION)) {
            return TaskFunctions.field(field.get(TaskYaml.FUNCTION).asText()).apply(doc);
        }
        if (!field.isTextual()) {
            return field;
        }
        if (doc.has(field.asText())) {
            return doc.get(field.asText());
        }
        String text = render(field.asText(), doc);
        return fields.choice() != null && Python.isDigit(text)
                ? MAKE.numberNode(Integer.parseInt(text))
                : MAKE.textNode(text);
    }

    /** A list of texts, or null where the task has none. */
    @Nullable
    JsonNode choices(Fields fields, ObjectNode doc) {
        JsonNode field = fields.choice();
        if (field == null) {
            return null;
        }
        JsonNode value = field;
        if (field.has(TaskYaml.FUNCTION)) {
            value = TaskFunctions.field(field.get(TaskYaml.FUNCTION).asText()).apply(doc);
        } else if (field.isTextual()) {
            value = doc.has(field.asText()) ? doc.get(field.asText()) : Python.literal(render(field.asText(), doc));
        } else if (field.isObject()) {
            ArrayNode values = MAKE.arrayNode();
            field.forEach(values::add);
            value = values;
        }
        if (!value.isArray() || value.isEmpty()) {
            throw new IllegalArgumentException("doc_to_choice gives %s, expected a list".formatted(value));
        }
        return value;
    }

    /** A column of that name, or a template. */
    String columnOrTemplate(String field, ObjectNode doc) {
        return doc.has(field) ? doc.get(field).asText() : render(field, doc);
    }

    String render(String template, ObjectNode doc) {
        return jinja.render(template, doc);
    }
}
