package io.nightmill.text;

/**
 * Jinja templates over a record, as Jinja2 renders them in Python with {@code StrictUndefined} and {@code keep_trailing_newline}:
 * a name that the record lacks is an error; lists, None and booleans read as Python writes them.
 */
public final class Jinja {
    private final JinjaSandbox sandbox = new JinjaSandbox(JinjaSandbox.resource("jinja-python.js"));

    /**
     * @param values JSON object of the names that the template may use
     * @throws IllegalArgumentException with the template and what is wrong with it
     */
    public String render(String template, String values) {
        try {
            return sandbox.call(template, values);
        } catch (IllegalArgumentException e) {
            String head = template.length() > 200 ? template.substring(0, 200) + "…" : template;
            throw new IllegalArgumentException(
                    "Cannot render the template '%s': %s".formatted(head, e.getMessage()), e);
        }
    }
}
