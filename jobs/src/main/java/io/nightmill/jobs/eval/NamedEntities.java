package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/** The harness's filters for entities and parts of speech, {@code format_span} and {@code regex_pos}. */
final class NamedEntities {
    /** In the order in which they are replaced. */
    private static final List<Map.Entry<Pattern, String>> LABELS = List.of(
            label("person", "PER"),
            label("location", "LOC"),
            label("organization", "ORG"),
            label("counties", "LOC"),
            label("places", "LOC"),
            label("people", "PER"),
            label("persons", "PER"),
            label("company", "ORG"),
            label("country", "LOC"),
            label("continent", "LOC"),
            label("time", "DATE"),
            label("date", "DATE"),
            label("per", "PER"),
            label("loc", "LOC"),
            label("org", "ORG"));

    private static final PythonRegex SPAN = PythonRegex.compile("\\b(PER|LOC|ORG|DATE):\\s*([^$]+)");
    private static final PythonRegex TAGGED = PythonRegex.compile("\\('([^']*)', '([^']*)'\\)");

    private NamedEntities() {}

    private static Map.Entry<Pattern, String> label(String usual, String label) {
        return Map.entry(PythonRegex.compile("\\b" + usual + "\\s*:").pattern(), label + ":");
    }

    /** {@code label: value $ label: value} of what names entities by any of their usual labels. */
    static String spans(String answer) {
        String text = answer.toLowerCase(Locale.ROOT);
        for (Map.Entry<Pattern, String> label : LABELS) {
            text = label.getKey().matcher(text).replaceAll(label.getValue());
        }
        text = Python.strip(text.replace("$$", "$").replaceAll("\\$+$", "").replace("\n", "$"));
        List<String> found = new ArrayList<>();
        for (List<String> span : SPAN.findAll(text)) {
            for (String value : span.get(1).split(",", -1)) {
                if (!Python.strip(value).equals("none")) {
                    found.add(span.get(0).toLowerCase(Locale.ROOT) + ": " + Python.strip(value));
                }
            }
        }
        return String.join(" $ ", found);
    }

    /** The tags of {@code [('word', 'TAG'), ...]}, for each answer. */
    static JsonNode tags(JsonNode answers, ObjectNode doc) {
        ArrayNode all = JsonNodeFactory.instance.arrayNode();
        for (JsonNode answer : answers) {
            ArrayNode tags = all.addArray();
            TAGGED.findAll(answer.asText()).forEach(pair -> tags.add(pair.get(1)));
            if (tags.isEmpty()) {
                tags.add("invalid");
            }
        }
        return all;
    }
}
