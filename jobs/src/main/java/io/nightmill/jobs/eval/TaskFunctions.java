package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.AnswerFilter.Match;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Counterparts of the Python functions that task files name with {@code !function}, by folder, module and name. What a task does with
 * them is the harness's; a name that is not here is an error.
 */
final class TaskFunctions {
    private static final JsonNodeFactory MAKE = JsonNodeFactory.instance;
    private static final List<String> MMLU_PRO = List.of(
            "biology",
            "business",
            "chemistry",
            "computer science",
            "economics",
            "engineering",
            "health",
            "history",
            "law",
            "math",
            "other",
            "philosophy",
            "physics",
            "psychology");

    private static final Map<String, Function<ObjectNode, Optional<ObjectNode>>> DOCUMENTS = documents();

    private static final Map<String, Function<ObjectNode, JsonNode>> FIELDS = Map.of(
            "wikitext/preprocess_wikitext.wikitext_detokenizer",
                    doc -> MAKE.textNode(detokenized(doc.path("page").asText())),
            "winogrande/preprocess_winogrande.doc_to_text",
                    doc -> MAKE.numberNode(doc.path("answer").asInt() - 1),
            "winogrande/preprocess_winogrande.doc_to_target", doc -> MAKE.textNode(afterBlank(doc)),
            "winogrande/preprocess_winogrande.doc_to_choice", TaskFunctions::filledBlanks,
            "mmlu_pro/utils.doc_to_text", TaskFunctions::mmluProQuestion,
            "mmlu_pro/utils.fewshot_to_text", TaskFunctions::mmluProQuestion,
            "mmlu_pro/utils.fewshot_to_target",
                    doc -> MAKE.textNode(
                            doc.path("cot_content").asText().replace("A: Let's think step by step. ", "")));

    private static final Map<String, BiFunction<ObjectNode, List<JsonNode>, Map<String, JsonNode>>> RESULTS = Map.of(
            "wikitext/preprocess_wikitext.process_results", TaskFunctions::wikitext,
            "truthfulqa/utils.process_results_mc2", TaskFunctions::truthfulMc2,
            "ifeval/utils.process_results", InstructionChecks::results);

    private static final Map<String, Function<ObjectNode, AnswerFilter>> FILTERS = filters();

    private static final Map<String, Function<List<JsonNode>, Double>> AGGREGATIONS =
            Map.of("ifeval/utils.agg_inst_level_acc", InstructionChecks::instructionAccuracy);

    private TaskFunctions() {}

    private static Map<String, Function<ObjectNode, Optional<ObjectNode>>> documents() {
        Map<String, Function<ObjectNode, Optional<ObjectNode>>> documents = new LinkedHashMap<>();
        documents.put("hellaswag/utils.process_docs", doc -> Optional.of(hellaswag(doc)));
        for (String subject : MMLU_PRO) {
            documents.put("mmlu_pro/utils.process_" + subject.replace(' ', '_'), doc -> Optional.of(doc)
                    .filter(one -> one.path("category").asText().equals(subject)));
        }
        return documents;
    }

    private static Map<String, Function<ObjectNode, AnswerFilter>> filters() {
        Map<String, Function<ObjectNode, AnswerFilter>> filters = new LinkedHashMap<>();
        for (String folder : List.of("zeroshot", "cot_zeroshot")) {
            filters.put(folder + "/utils.MultiChoiceRegexFilter", step -> new AnswerFilter.MultipleChoice(step, true));
            filters.put(folder + "/utils.MapRegexFilter", TaskFunctions::mapRegex);
            filters.put(folder + "/utils.NumberParseRegexFilter", TaskFunctions::numberParse);
            filters.put(folder + "/utils.WordSortFilter", step -> TaskFunctions::wordSort);
        }
        filters.put("humaneval/utils.build_predictions", step -> predictions(answer -> answer));
        filters.put(
                "humaneval/utils.build_predictions_instruct",
                step -> predictions(
                        answer -> answer.contains("```") ? answer.substring(0, answer.indexOf("```")) : answer));
        return filters;
    }

    /** What a document becomes, or nothing where it is not the task's. */
    static Function<ObjectNode, Optional<ObjectNode>> documents(String name) {
        return require(DOCUMENTS, name);
    }

    static Function<ObjectNode, JsonNode> field(String name) {
        return require(FIELDS, name);
    }

    /** Of a document and its filtered answers, one per request: values by metric. */
    static BiFunction<ObjectNode, List<JsonNode>, Map<String, JsonNode>> results(String name) {
        return require(RESULTS, name);
    }

    static AnswerFilter filter(String name, ObjectNode step) {
        return require(FILTERS, name).apply(step);
    }

    static Function<List<JsonNode>, Double> aggregation(String name) {
        return require(AGGREGATIONS, name);
    }

    private static <T> T require(Map<String, T> known, String name) {
        T function = known.get(name);
        if (function == null) {
            throw new IllegalArgumentException("!function %s has no counterpart here, expected one of %s"
                    .formatted(name, new TreeSet<>(known.keySet())));
        }
        return function;
    }

    private static JsonNode mmluProQuestion(ObjectNode doc) {
        StringBuilder text =
                new StringBuilder("Question:\n" + doc.path("question").asText() + "\nOptions:\n");
        char letter = 'A';
        for (JsonNode option : doc.path("options")) {
            if (letter <= 'J') {
                text.append(letter++)
                        .append(". ")
                        .append(Python.strip(option.asText()))
                        .append('\n');
            }
        }
        return MAKE.textNode(text.append("Answer: Let's think step by step.").toString());
    }

    private static ObjectNode hellaswag(ObjectNode doc) {
        String second = doc.path("ctx_b").asText();
        String capitalized = second.isEmpty()
                ? second
                : second.substring(0, second.offsetByCodePoints(0, 1)).toUpperCase(java.util.Locale.ROOT)
                        + second.substring(second.offsetByCodePoints(0, 1)).toLowerCase(java.util.Locale.ROOT);
        String context = doc.path("ctx_a").asText() + " " + capitalized;
        ObjectNode made = doc.deepCopy();
        made.put("query", wikiHow(doc.path("activity_label").asText() + ": " + context));
        ArrayNode choices = made.putArray("choices");
        doc.path("endings").forEach(ending -> choices.add(wikiHow(ending.asText())));
        made.put("gold", doc.path("label").asInt());
        return made;
    }

    /** Without the marks that WikiHow's articles left in HellaSwag. */
    private static String wikiHow(String text) {
        return PythonRegex.compile("\\[.*?\\]")
                .removeFrom(Python.strip(text).replace(" [title]", ". "))
                .replace("  ", " ");
    }

    private static String afterBlank(ObjectNode doc) {
        String sentence = doc.path("sentence").asText();
        return Python.strip(sentence.substring(blank(sentence) + 1));
    }

    private static ArrayNode filledBlanks(ObjectNode doc) {
        String sentence = doc.path("sentence").asText();
        String before = sentence.substring(0, blank(sentence));
        return MAKE.arrayNode()
                .add(before + doc.path("option1").asText())
                .add(before + doc.path("option2").asText());
    }

    private static int blank(String sentence) {
        int at = sentence.indexOf('_');
        if (at < 0) {
            throw new IllegalArgumentException("the sentence '%s' has no blank".formatted(sentence));
        }
        return at;
    }

    /** WikiText's tokens as the text that they were. */
    static String detokenized(String page) {
        String s = page.replace("s '", "s'");
        s = s.replaceAll("/' [0-9]/", "/'[0-9]/");
        s = s.replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".");
        for (String mark : List.of(":", ";", ".", "!", "?", ",")) {
            s = s.replace(" " + mark + " ", mark + " ");
        }
        s = unpadded(s, "\\(\\s*([^\\)]*?)\\s*\\)", "($1)");
        s = unpadded(s, "\\[\\s*([^\\]]*?)\\s*\\]", "[$1]");
        s = unpadded(s, "\\{\\s*([^}]*?)\\s*\\}", "{$1}");
        s = unpadded(s, "\"\\s*([^\"]*?)\\s*\"", "\"$1\"");
        s = unpadded(s, "'\\s*([^']*?)\\s*'", "'$1'");
        s = s.replace("= = = =", "====").replace("= = =", "===").replace("= =", "==");
        s = s.replace(" \u00b0 ", "\u00b0").replace(" \n", "\n").replace("\n ", "\n");
        return s.replace(" N ", " 1 ").replace(" 's", "'s");
    }

    private static String unpadded(String text, String pattern, String to) {
        return PythonRegex.compile(pattern).pattern().matcher(text).replaceAll(to);
    }

    /** Words and bytes are those of the page before its tokens became text again. */
    private static Map<String, JsonNode> wikitext(ObjectNode doc, List<JsonNode> results) {
        String page = doc.path("page").asText();
        return Metric.rolling(results.get(0).doubleValue(), page);
    }

    /** The share of probability that true answers have. */
    private static Map<String, JsonNode> truthfulMc2(ObjectNode doc, List<JsonNode> results) {
        JsonNode labels = doc.path("mc2_targets").path("labels");
        double right = 0;
        double all = 0;
        boolean isRight = true;
        for (int i = 0; i < results.size(); i++) {
            // Whatever comes before the first false answer is true.
            isRight &= labels.path(i).asInt() != 0;
            double probability = Math.exp(results.get(i).get(0).doubleValue());
            right += isRight ? probability : 0;
            all += probability;
        }
        return Map.of("acc", MAKE.numberNode(right / all));
    }

    private static AnswerFilter predictions(UnaryOperator<String> code) {
        return (answers, doc) -> AnswerFilter.each(answer -> doc.path("prompt").asText() + code.apply(answer))
                .apply(answers, doc);
    }

    /** Whichever of some patterns matches what all of them find becomes its value. */
    private static AnswerFilter mapRegex(ObjectNode step) {
        Map<PythonRegex, String> values = new LinkedHashMap<>();
        List<String> patterns = new ArrayList<>();
        step.path("regex_pattern_to_value").properties().forEach(entry -> {
            patterns.add(entry.getKey());
            values.put(PythonRegex.compile(entry.getKey()), entry.getValue().asText());
        });
        Match match = Match.of(step, String.join("|", patterns));
        return AnswerFilter.each(answer -> {
            String found = match.find(match.regex(), match.ignore().apply(answer));
            if (found == null || found.isEmpty()) {
                return match.fallback();
            }
            String ignored = match.ignore().apply(found);
            return values.entrySet().stream()
                    .filter(entry -> !entry.getKey().findAll(ignored).isEmpty())
                    .map(Map.Entry::getValue)
                    .findFirst()
                    .orElse(match.fallback());
        });
    }

    /** Digits as the pattern finds them, or a number in English words. */
    private static AnswerFilter numberParse(ObjectNode step) {
        Match match = Match.of(step);
        return AnswerFilter.each(answer -> {
            String found = match.find(match.regex(), answer);
            if (found == null || found.isEmpty()) {
                Long number = EnglishNumbers.first(answer);
                return number == null ? match.fallback() : number.toString();
            }
            return found;
        });
    }

    /** The question's words in the order in which each stands last in the answer. */
    private static JsonNode wordSort(JsonNode answers, ObjectNode doc) {
        String[] parts = doc.path("input").asText().split("List:", -1);
        if (parts.length < 2) {
            throw new IllegalArgumentException("the input has no 'List:'");
        }
        String pattern = Pattern.compile("\\s+")
                .splitAsStream(Python.strip(parts[1]))
                .map(word -> "\\b" + word + "\\b")
                .collect(Collectors.joining("|"));
        PythonRegex regex = PythonRegex.compile(pattern);
        return AnswerFilter.each(answer -> {
                    List<String> found = new ArrayList<>();
                    regex.findAll(answer).forEach(match -> found.add(match.get(0)));
                    Collections.reverse(found);
                    List<String> once = new ArrayList<>(new LinkedHashSet<>(found));
                    Collections.reverse(once);
                    return String.join(" ", once);
                })
                .apply(answers, doc);
    }
}
