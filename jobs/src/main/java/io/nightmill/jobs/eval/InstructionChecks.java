package io.nightmill.jobs.eval;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.text.BreakIterator;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.StreamSupport;

/**
 * IFEval's instructions that a program can check (Zhou et al., 2023), by their names in the dataset. Sentences are cut by the JDK's
 * {@link BreakIterator} and words at spaces and punctuation, where the original uses NLTK's models.
 */
final class InstructionChecks {
    /** An instruction's own arguments and an answer. */
    private interface Check {
        boolean follows(JsonNode kwargs, String answer);
    }

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Pattern WORD = Pattern.compile("\\w+", Pattern.UNICODE_CHARACTER_CLASS);
    private static final Pattern TOKEN = Pattern.compile("[\\w'’-]+", Pattern.UNICODE_CHARACTER_CLASS);
    private static final Map<String, Check> CHECKS = Map.ofEntries(
            Map.entry("keywords:existence", (k, a) -> all(k.path("keywords"), word -> count(word, a) > 0)),
            Map.entry(
                    "keywords:frequency",
                    (k, a) ->
                            relation(k.path("relation"), count(k.path("keyword").asText(), a), k.path("frequency"))),
            Map.entry(
                    "keywords:forbidden_words",
                    (k, a) -> all(k.path("forbidden_words"), word -> count("\\b" + word + "\\b", a) == 0)),
            Map.entry("keywords:letter_frequency", InstructionChecks::letters),
            Map.entry(
                    "language:response_language",
                    (k, a) -> Languages.is(a, k.path("language").asText())),
            Map.entry(
                    "length_constraints:number_sentences",
                    (k, a) -> relation(k.path("relation"), sentences(a), k.path("num_sentences"))),
            Map.entry("length_constraints:number_paragraphs", InstructionChecks::paragraphs),
            Map.entry(
                    "length_constraints:number_words",
                    (k, a) -> relation(
                            k.path("relation"), WORD.matcher(a).results().count(), k.path("num_words"))),
            Map.entry("length_constraints:nth_paragraph_first_word", InstructionChecks::firstWord),
            Map.entry(
                    "detectable_content:number_placeholders",
                    (k, a) -> find("\\[.*?\\]", 0, a)
                            >= k.path("num_placeholders").asInt()),
            Map.entry("detectable_content:postscript", InstructionChecks::postscript),
            Map.entry(
                    "detectable_format:number_bullet_lists",
                    (k, a) -> find("^\\s*\\*[^\\*].*$", Pattern.MULTILINE, a) + find("^\\s*-.*$", Pattern.MULTILINE, a)
                            == k.path("num_bullets").asInt()),
            Map.entry(
                    "detectable_format:constrained_response",
                    (k, a) -> List.of("My answer is yes.", "My answer is no.", "My answer is maybe.").stream()
                            .anyMatch(Python.strip(a)::contains)),
            Map.entry("detectable_format:number_highlighted_sections", InstructionChecks::highlights),
            Map.entry(
                    "detectable_format:multiple_sections",
                    (k, a) -> find("\\s?" + k.path("section_spliter").asText() + "\\s?\\d+\\s?", 0, a)
                            >= k.path("num_sections").asInt()),
            Map.entry("detectable_format:json_format", (k, a) -> isJson(a)),
            Map.entry("detectable_format:title", (k, a) -> PythonRegex.compile("<<[^\\n]+>>").findAll(a).stream()
                    .anyMatch(title -> !Python.blank(title.get(0).replaceAll("^<+|>+$", "")))),
            Map.entry("combination:two_responses", (k, a) -> twoResponses(a)),
            Map.entry("combination:repeat_prompt", (k, a) -> lower(Python.strip(a))
                    .startsWith(lower(Python.strip(k.path("prompt_to_repeat").asText())))),
            Map.entry("startend:end_checker", (k, a) -> lower(Python.strip(a).replaceAll("^\"+|\"+$", ""))
                    .endsWith(lower(Python.strip(k.path("end_phrase").asText())))),
            Map.entry(
                    "change_case:capital_word_frequency",
                    (k, a) -> relation(
                            k.path("capital_relation"),
                            TOKEN.matcher(a)
                                    .results()
                                    .filter(word -> isUpper(word.group()))
                                    .count(),
                            k.path("capital_frequency"))),
            Map.entry("change_case:english_capital", (k, a) -> isUpper(a) && Languages.is(a, "en")),
            Map.entry("change_case:english_lowercase", (k, a) -> isLower(a) && Languages.is(a, "en")),
            Map.entry("punctuation:no_comma", (k, a) -> !a.contains(",")),
            Map.entry(
                    "startend:quotation",
                    (k, a) -> Python.strip(a).length() > 1
                            && Python.strip(a).startsWith("\"")
                            && Python.strip(a).endsWith("\"")));

    private InstructionChecks() {}

    /** The four accuracies of a document: strictly, and after leaving out first and last lines and asterisks. */
    static Map<String, JsonNode> results(ObjectNode doc, List<JsonNode> results) {
        String answer = results.get(0).asText();
        Map<String, JsonNode> values = new LinkedHashMap<>();
        put(values, "strict", doc, List.of(answer));
        put(values, "loose", doc, relaxed(answer));
        return values;
    }

    private static void put(Map<String, JsonNode> values, String name, ObjectNode doc, List<String> forms) {
        ArrayNode followed = JsonNodeFactory.instance.arrayNode();
        JsonNode ids = doc.path("instruction_id_list");
        boolean all = true;
        for (int i = 0; i < ids.size(); i++) {
            String id = ids.get(i).asText();
            Check check = CHECKS.get(id);
            if (check == null) {
                throw new IllegalArgumentException(
                        "the instruction '%s' is not one of %s".formatted(id, new TreeSet<>(CHECKS.keySet())));
            }
            ObjectNode kwargs = doc.path("kwargs").path(i).deepCopy();
            if (!kwargs.hasNonNull("prompt_to_repeat") && id.equals("combination:repeat_prompt")) {
                kwargs.set("prompt_to_repeat", doc.path("prompt"));
            }
            boolean follows = forms.stream().anyMatch(form -> !Python.blank(form) && check.follows(kwargs, form));
            followed.add(follows);
            all &= follows;
        }
        values.put("prompt_level_" + name + "_acc", JsonNodeFactory.instance.booleanNode(all));
        values.put("inst_level_" + name + "_acc", followed);
    }

    /** The share of all instructions of all documents that were followed. */
    static double instructionAccuracy(List<JsonNode> items) {
        return items.stream()
                .flatMap(item -> StreamSupport.stream(item.spliterator(), false))
                .mapToDouble(JsonNode::asDouble)
                .average()
                .orElse(Double.NaN);
    }

    private static List<String> relaxed(String answer) {
        List<String> lines = List.of(answer.split("\n", -1));
        int last = Math.max(1, lines.size() - 1);
        List<String> forms = new ArrayList<>(List.of(
                answer,
                Python.strip(String.join("\n", lines.subList(1, lines.size()))),
                Python.strip(String.join("\n", lines.subList(0, lines.size() - 1))),
                Python.strip(String.join("\n", lines.subList(1, last)))));
        List.copyOf(forms).forEach(form -> forms.add(form.replace("*", "")));
        return forms;
    }

    private static String lower(String text) {
        return text.toLowerCase(Locale.ROOT);
    }

    private static boolean all(JsonNode words, java.util.function.Predicate<String> holds) {
        return StreamSupport.stream(words.spliterator(), false)
                .map(JsonNode::asText)
                .allMatch(holds);
    }

    private static int count(String pattern, String text) {
        return find(pattern, Pattern.CASE_INSENSITIVE | Pattern.UNICODE_CASE, text);
    }

    private static int find(String pattern, int flags, String text) {
        return PythonRegex.compile(pattern, flags).findAll(text).size();
    }

    private static boolean relation(JsonNode relation, long actual, JsonNode wanted) {
        return relation.asText().equals("less than") ? actual < wanted.asLong() : actual >= wanted.asLong();
    }

    private static boolean letters(JsonNode kwargs, String answer) {
        String letter = lower(kwargs.path("letter").asText());
        long found = lower(answer)
                .codePoints()
                .filter(c -> Character.toString(c).equals(letter))
                .count();
        return relation(kwargs.path("let_relation"), found, kwargs.path("let_frequency"));
    }

    private static int sentences(String text) {
        BreakIterator breaks = BreakIterator.getSentenceInstance(Locale.ENGLISH);
        breaks.setText(text);
        int count = 0;
        int from = breaks.first();
        for (int to = breaks.next(); to != BreakIterator.DONE; from = to, to = breaks.next()) {
            count += Python.blank(text.substring(from, to)) ? 0 : 1;
        }
        return count;
    }

    private static boolean paragraphs(JsonNode kwargs, String answer) {
        String[] parts = PythonRegex.compile("\\s?\\*\\*\\*\\s?").pattern().split(answer, -1);
        int count = parts.length;
        for (int i = 0; i < parts.length; i++) {
            if (Python.blank(parts[i])) {
                if (i > 0 && i < parts.length - 1) {
                    return false;
                }
                count--;
            }
        }
        return count == kwargs.path("num_paragraphs").asInt();
    }

    private static boolean firstWord(JsonNode kwargs, String answer) {
        String[] parts = answer.split("\n\n", -1);
        int count = 0;
        for (String part : parts) {
            count += Python.blank(part) ? 0 : 1;
        }
        int nth = kwargs.path("nth_paragraph").asInt();
        if (nth > count || Python.blank(parts[nth - 1])) {
            return false;
        }
        String word = Metric.SPACES
                .split(Python.strip(parts[nth - 1]))[0]
                .replaceAll("^'+", "")
                .replaceAll("^\"+", "");
        String first = lower(word.split("[.,?!'\"]", -1)[0]);
        return count == kwargs.path("num_paragraphs").asInt()
                && first.equals(lower(kwargs.path("first_word").asText()));
    }

    private static boolean postscript(JsonNode kwargs, String answer) {
        String marker = Python.strip(kwargs.path("postscript_marker").asText());
        String pattern =
                switch (marker) {
                    case "P.P.S" -> "\\s*p\\.\\s?p\\.\\s?s.*$";
                    case "P.S." -> "\\s*p\\.\\s?s\\..*$";
                    default -> "\\s*" + lower(marker) + ".*$";
                };
        return find(pattern, Pattern.MULTILINE, lower(answer)) > 0;
    }

    private static boolean highlights(JsonNode kwargs, String answer) {
        long count = PythonRegex.compile("\\*[^\\n\\*]*\\*").findAll(answer).stream()
                .filter(found -> !Python.blank(found.get(0).replaceAll("^\\*+|\\*+$", "")))
                .count();
        count += PythonRegex.compile("\\*\\*[^\\n\\*]*\\*\\*").findAll(answer).stream()
                .filter(found -> !Python.blank(found.get(0).replaceAll("^\\*\\*|\\*\\*$", "")))
                .count();
        return count >= kwargs.path("num_highlights").asInt();
    }

    private static boolean isJson(String answer) {
        String text = Python.strip(Python.strip(answer).replaceAll("^```(json|Json|JSON)?|```$", ""));
        try {
            return !text.isEmpty() && !JSON.readTree(text).isMissingNode();
        } catch (JsonProcessingException e) {
            return false;
        }
    }

    private static boolean twoResponses(String answer) {
        String[] parts = answer.split("\\*{6}", -1);
        List<String> responses = new ArrayList<>();
        for (int i = 0; i < parts.length; i++) {
            if (!Python.blank(parts[i])) {
                responses.add(Python.strip(parts[i]));
            } else if (i > 0 && i < parts.length - 1) {
                return false;
            }
        }
        return responses.size() == 2 && !responses.get(0).equals(responses.get(1));
    }

    /** As {@code str.isupper}: some letters have a case, and none is lower. */
    private static boolean isUpper(String text) {
        return text.codePoints().anyMatch(Character::isUpperCase)
                && text.codePoints().noneMatch(Character::isLowerCase);
    }

    private static boolean isLower(String text) {
        return text.codePoints().anyMatch(Character::isLowerCase)
                && text.codePoints().noneMatch(Character::isUpperCase);
    }
}
