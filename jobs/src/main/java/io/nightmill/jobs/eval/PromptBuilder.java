package io.nightmill.jobs.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.text.ChatTemplate;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The harness's prompts: description, examples, question, and what the model's answer begins with. Not for several threads. */
final class PromptBuilder {
    private final EvalTask task;
    private final EvalOptions options;
    private final DocFields fields;
    private final @Nullable ChatTemplate template;
    private final Map<ObjectNode, Example> examples = new IdentityHashMap<>();

    /** @param template of the model, where prompts are chats */
    PromptBuilder(EvalTask task, EvalOptions options, DocFields fields, @Nullable ChatTemplate template) {
        this.task = task;
        this.options = options;
        this.fields = fields;
        this.template = template;
    }

    private record Example(String question, String answer) {}

    /** What is asked of the model: contexts and continuations, or one context to go on from. */
    record Argument(String context, @Nullable String continuation) {}

    /**
     * @param question what {@code doc_to_text} says of the document
     * @param choices what {@code doc_to_choice} says, or null
     * @param shots documents of the examples, the same objects for all documents
     */
    List<Argument> arguments(
            ObjectNode doc, JsonNode question, JsonNode target, @Nullable JsonNode choices, List<ObjectNode> shots) {
        boolean multipleInputs = choices != null && question.isIntegralNumber();
        List<Argument> arguments = new ArrayList<>();
        switch (task.outputType()) {
            case LOGLIKELIHOOD -> arguments.add(
                    new Argument(context(doc, Python.str(question), shots), Python.str(target)));
            case LOGLIKELIHOOD_ROLLING -> arguments.add(new Argument(Python.str(target), null));
            case GENERATE_UNTIL -> arguments.add(new Argument(context(doc, Python.str(question), shots), null));
            case MULTIPLE_CHOICE -> {
                if (choices == null) {
                    throw new IllegalArgumentException("a task of multiple choice has no doc_to_choice");
                }
                String delimiter = template == null ? task.targetDelimiter() : "";
                if (multipleInputs) {
                    String continuation = delimiter + Python.str(target);
                    choices.forEach(choice ->
                            arguments.add(new Argument(context(doc, Python.str(choice), "", shots), continuation)));
                } else {
                    String context = context(doc, Python.str(question), shots);
                    choices.forEach(choice -> arguments.add(new Argument(context, delimiter + Python.str(choice))));
                }
                if (task.hasMetric("acc_mutual_info")) {
                    choices.forEach(choice -> arguments.add(new Argument("", delimiter + Python.str(choice))));
                }
            }
        }
        return arguments;
    }

    private String context(ObjectNode doc, String asked, List<ObjectNode> shots) {
        return context(doc, asked, task.targetDelimiter(), shots);
    }

    /** @param delimiter between what is asked and what the answer begins with */
    private String context(ObjectNode doc, String asked, String delimiter, List<ObjectNode> shots) {
        String description = task.description().isEmpty() ? "" : fields.render(task.description(), doc);
        String instruction = options.systemInstruction();
        String system = instruction == null
                ? description
                : description.isEmpty() ? instruction : instruction + task.fewshotDelimiter() + description;
        String genPrefix = task.genPrefix() == null ? null : fields.columnOrTemplate(task.genPrefix(), doc);
        if (template != null) {
            return chat(template, system, shots, asked, genPrefix);
        }
        StringBuilder text = new StringBuilder(system);
        shots.forEach(shot -> text.append(example(shot)));
        return text.append(asked)
                .append(genPrefix == null ? "" : delimiter + genPrefix)
                .toString();
    }

    private String chat(
            ChatTemplate chat, String system, List<ObjectNode> shots, String asked, @Nullable String genPrefix) {
        ArrayNode messages = JsonNodeFactory.instance.arrayNode();
        if (!system.isEmpty()) {
            add(messages, "system", system);
        }
        if (options.fewshotAsMultiturn()) {
            for (ObjectNode shot : shots) {
                Example example = read(shot);
                add(messages, "user", example.question());
                add(messages, "assistant", example.answer());
            }
            add(messages, "user", asked);
        } else {
            StringBuilder text = new StringBuilder();
            shots.forEach(shot -> text.append(example(shot)));
            add(messages, "user", text.append(asked).toString());
        }
        boolean open = genPrefix != null && !genPrefix.isEmpty();
        if (open) {
            add(messages, "assistant", genPrefix);
        }
        ObjectNode request = options.chat().request();
        request.set("messages", messages);
        return chat.render(request.put("add_generation_prompt", !open).put("continue_final_message", open));
    }

    private static void add(ArrayNode messages, String role, String content) {
        messages.addObject().put("role", role).put("content", content);
    }

    private String example(ObjectNode shot) {
        Example example = read(shot);
        return example.answer().isEmpty()
                ? example.question()
                : example.question()
                        + task.fewShot().targetDelimiter()
                        + example.answer()
                        + task.fewShot().fewshotDelimiter();
    }

    private Example read(ObjectNode shot) {
        return examples.computeIfAbsent(shot, doc -> {
            EvalTask.Fields own = task.fewShot().fields();
            JsonNode choices = fields.choices(own, doc);
            JsonNode question = fields.text(own, doc);
            JsonNode target = fields.target(own, doc);
            String asked = choices != null && question.isIntegralNumber()
                    ? Python.str(choices.get(question.intValue()))
                    : Python.str(question);
            String answer = target.isArray()
                    ? Python.str(target.get(0))
                    : choices != null && target.isIntegralNumber()
                            ? Python.str(choices.get(target.intValue()))
                            : Python.str(target);
            String prefix = task.fewShot().genPrefix();
            String before = prefix == null || answer.isEmpty() ? "" : fields.columnOrTemplate(prefix, doc) + " ";
            return new Example(asked, before + answer);
        });
    }
}
