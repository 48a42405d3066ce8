package io.nightmill.text;

import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * Jinja templates over a record, as Jinja2 renders them in Python with {@code StrictUndefined} and {@code keep_trailing_newline}:
 * a name that the record lacks is an error; lists, None and booleans read as Python writes them.
 */
public final class Jinja {
    private final JinjaSandbox sandbox = new JinjaSandbox();

    /**
     * @param values the names that the template may use
     * @throws IllegalArgumentException with the template and what is wrong with it
     */
    public String render(String template, ObjectNode values) {
        try {
            return sandbox.render(template, true, values);
        } catch (IllegalArgumentException e) {
            String head = template.length() > 200 ? template.substring(0, 200) + "…" : template;
            throw new IllegalArgumentException(
                    "Cannot render the template '%s': %s".formatted(head, e.getMessage()), e);
        }
    }
}
