package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The harness's filters for entities and parts of speech, {@code format_span} and {@code regex_pos}. */
final class NamedEntities {
    /** In the order in which they are replaced. */
    private static final List<Map.Entry<String, String>> LABELS = List.of(
            Map.entry("person", "PER"),
            Map.entry("location", "LOC"),
            Map.entry("organization", "ORG"),
            Map.entry("counties", "LOC"),
            Map.entry("places", "LOC"),
            Map.entry("people", "PER"),
            Map.entry("persons", "PER"),
            Map.entry("company", "ORG"),
            Map.entry("country", "LOC"),
            Map.entry("continent", "LOC"),
            Map.entry("time", "DATE"),
            Map.entry("date", "DATE"),
            Map.entry("per", "PER"),
            Map.entry("loc", "LOC"),
            Map.entry("org", "ORG"));

    private static final PythonRegex SPAN = PythonRegex.compile("\\b(PER|LOC|ORG|DATE):\\s*([^$]+)");
    private static final PythonRegex TAGGED = PythonRegex.compile("\\('([^']*)', '([^']*)'\\)");

    private NamedEntities() {}

    /** {@code label: value $ label: value} of what names entities by any of their usual labels. */
    static String spans(String answer) {
        String text = answer.toLowerCase(Locale.ROOT);
        for (Map.Entry<String, String> label : LABELS) {
            text = PythonRegex.compile("\\b" + label.getKey() + "\\s*:")
                    .pattern()
                    .matcher(text)
                    .replaceAll(label.getValue() + ":");
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
