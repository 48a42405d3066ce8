package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.jobs.eval.EvalTask.FilterConfig;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** A step between what a model answered and what is judged, by the harness's names: a request's answers in, answers (or one) out. */
@FunctionalInterface
interface AnswerFilter {
    /**
     * @param answers list of texts, or of {@code [logprob, is_greedy]}
     * @return such a list, or one of them
     */
    JsonNode apply(JsonNode answers, ObjectNode doc);

    Set<String> NAMES = new TreeSet<>(Set.of(
            "regex",
            "regex_pos",
            "remove_whitespace",
            "multi_choice_regex",
            "take_first",
            "take_first_k",
            "majority_vote",
            "lowercase",
            "uppercase",
            "map",
            "format_span",
            "custom"));

    /** @throws IllegalArgumentException naming a step that is not known, or its argument */
    static AnswerFilter of(FilterConfig config) {
        List<AnswerFilter> steps =
                config.steps().stream().map(AnswerFilter::step).toList();
        return (answers, doc) -> {
            JsonNode value = answers;
            for (AnswerFilter step : steps) {
                value = step.apply(value, doc);
            }
            return value;
        };
    }

    private static AnswerFilter step(ObjectNode step) {
        JsonNode function = step.path("function");
        if (function.has(TaskYaml.FUNCTION)) {
            return TaskFunctions.filter(function.get(TaskYaml.FUNCTION).asText(), step);
        }
        return switch (function.asText()) {
            case "regex" -> regex(step);
            case "multi_choice_regex" -> new MultipleChoice(step, false);
            case "remove_whitespace" -> each(Python::strip);
            case "lowercase" -> each(text -> text.toLowerCase(java.util.Locale.ROOT));
            case "uppercase" -> each(text -> text.toUpperCase(java.util.Locale.ROOT));
            case "take_first" -> (answers, doc) -> answers.get(0);
            case "take_first_k" -> takeFirst(step.path("k").asInt());
            case "majority_vote" -> (answers, doc) ->
                    JsonNodeFactory.instance.arrayNode().add(majority(answers));
            case "map" -> mapped(step);
            case "format_span" -> each(NamedEntities::spans);
            case "regex_pos" -> NamedEntities::tags;
            case "custom" -> TaskFunctions.filter(
                    step.path("filter_fn").path(TaskYaml.FUNCTION).asText(), step);
            default -> throw new IllegalArgumentException(
                    "the filter '%s' is not one of %s".formatted(Python.str(function), NAMES));
        };
    }

    /** A step that changes every answer by itself. */
    static AnswerFilter each(UnaryOperator<String> change) {
        return (answers, doc) -> {
            ArrayNode changed = JsonNodeFactory.instance.arrayNode();
            answers.forEach(answer -> changed.add(change.apply(answer.asText())));
            return changed;
        };
    }

    private static AnswerFilter takeFirst(int k) {
        return (answers, doc) -> {
            if (answers.size() < k) {
                throw new IllegalArgumentException(
                        "take_first_k wants %d answers, there are %d".formatted(k, answers.size()));
            }
            ArrayNode first = JsonNodeFactory.instance.arrayNode();
            for (int i = 0; i < k; i++) {
                first.add(answers.get(i));
            }
            return first;
        };
    }

    /** The most frequent answer; of equally frequent ones, that which came first. */
    private static JsonNode majority(JsonNode answers) {
        Map<JsonNode, Integer> counts = new LinkedHashMap<>();
        answers.forEach(answer -> counts.merge(answer, 1, Integer::sum));
        Map.Entry<JsonNode, Integer> best = null;
        for (Map.Entry<JsonNode, Integer> entry : counts.entrySet()) {
            if (best == null || entry.getValue() > best.getValue()) {
                best = entry;
            }
        }
        return best == null ? JsonNodeFactory.instance.nullNode() : best.getKey();
    }

    private static AnswerFilter mapped(ObjectNode step) {
        JsonNode mapping = step.path("mapping_dict");
        JsonNode otherwise =
                step.has("default_value") ? step.get("default_value") : JsonNodeFactory.instance.nullNode();
        return (answers, doc) -> {
            ArrayNode changed = JsonNodeFactory.instance.arrayNode();
            answers.forEach(
                    answer -> changed.add(mapping.has(answer.asText()) ? mapping.get(answer.asText()) : otherwise));
            return changed;
        };
    }

    private static AnswerFilter regex(ObjectNode step) {
        Match match = Match.of(step);
        return each(text -> {
            String found = match.find(match.regex(), text);
            return found == null ? match.fallback() : found;
        });
    }

    /** What the harness's filters with a regular expression have in common. */
    record Match(PythonRegex regex, int groupSelect, String fallback, UnaryOperator<String> ignore) {

        static Match of(ObjectNode step) {
            return of(step, step.path("regex_pattern").asText("#### (\\-?[0-9\\.\\,]+)"));
        }

        static Match of(ObjectNode step, String pattern) {
            List<PythonRegex> ignored = new ArrayList<>();
            step.path("regexes_to_ignore").forEach(regex -> ignored.add(PythonRegex.compile(regex.asText())));
            boolean lower = step.path("ignore_case").asBoolean();
            boolean letters = step.path("ignore_punctuation").asBoolean();
            Pattern punctuation = Pattern.compile("\\p{P}");
            return new Match(
                    PythonRegex.compile(pattern),
                    step.path("group_select").asInt(0),
                    step.path("fallback").asText("[invalid]"),
                    text -> {
                        String left = text;
                        for (PythonRegex regex : ignored) {
                            left = regex.removeFrom(left);
                        }
                        left = lower ? left.toLowerCase(java.util.Locale.ROOT) : left;
                        return letters ? punctuation.matcher(left).replaceAll("") : left;
                    });
        }

        /** The chosen match's first group that is not empty, stripped; null where nothing matches. */
        @Nullable
        String find(PythonRegex pattern, String text) {
            List<List<String>> all = pattern.findAll(text);
            int at = groupSelect < 0 ? all.size() + groupSelect : groupSelect;
            if (all.isEmpty()) {
                return null;
            }
            if (at < 0 || at >= all.size()) {
                throw new IllegalArgumentException(
                        "group_select is %d, and there are %d matches".formatted(groupSelect, all.size()));
            }
            List<String> groups = all.get(at);
            if (groups.size() == 1) {
                return Python.strip(groups.get(0));
            }
            return groups.stream()
                    .filter(group -> !group.isEmpty())
                    .findFirst()
                    .map(Python::strip)
                    .orElse(null);
        }
    }

    /**
     * The letter of a choice: as the pattern finds it, or by the choice's own text, or a letter behind a colon.
     *
     * @param ofInput whether choices are read out of the question, "(A) one", as BIG-Bench Hard's are; else the document lists them
     */
    record MultipleChoice(Match match, boolean ofInput) implements AnswerFilter {
        private static final PythonRegex CHOICE = PythonRegex.compile("\\([A-Z]\\)([^\\n^(]*)");

        MultipleChoice(ObjectNode step, boolean ofInput) {
            this(Match.of(step), ofInput);
        }

        @Override
        public JsonNode apply(JsonNode answers, ObjectNode doc) {
            List<String> choices = new ArrayList<>();
            if (ofInput) {
                CHOICE.findAll(doc.path("input").asText()).forEach(found -> choices.add(found.get(0)));
            } else {
                doc.path("choices").forEach(choice -> choices.add(choice.asText()));
            }
            Map<String, String> letterOf = new LinkedHashMap<>();
            List<String> texts = new ArrayList<>();
            List<String> letters = new ArrayList<>();
            for (String choice : choices) {
                String text = match.ignore().apply(Python.strip(choice));
                String letter = String.valueOf((char) ('A' + letters.size()));
                texts.add(Pattern.quote(text));
                letterOf.put(text, "(" + letter + ")");
                letters.add(letter);
            }
            // The longest first, so that none is taken for another that it begins with.
            texts.sort(Comparator.comparing(String::length).reversed());
            PythonRegex byText = new PythonRegex(Pattern.compile(String.join("|", texts)));
            PythonRegex byLetter = PythonRegex.compile(":[\\s]*(" + String.join("|", letters) + ")");
            return each(answer -> {
                        String found = match.find(match.regex(), answer);
                        if (found == null || found.isEmpty()) {
                            found = match.find(byText, match.ignore().apply(answer));
                            found = found == null ? null : letterOf.getOrDefault(found, found);
                        }
                        if (found == null || found.isEmpty()) {
                            found = match.find(byLetter, answer);
                            found = letters.contains(found) ? "(" + found + ")" : found;
                        }
                        return found == null || found.isEmpty() ? match.fallback() : found;
                    })
                    .apply(answers, doc);
        }
    }
}
