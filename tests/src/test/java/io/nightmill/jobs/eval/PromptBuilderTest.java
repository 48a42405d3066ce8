package io.nightmill.jobs.eval;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.pipeline.ChatOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PromptBuilderTest {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    @TempDir
    Path temp;

    private String context(String task) throws IOException {
        String yaml = "task: a\ndataset_path: d\ntest_split: test\ndoc_to_text: q\ndoc_to_target: t\n" + task;
        Files.writeString(temp.resolve("task.yaml"), yaml);
        EvalTask read = TaskTree.tasks(
                        new TaskIndex(List.of(temp), new EvalTask.Overrides(null, MAPPER.createObjectNode()))
                                .resolve(List.of("a")))
                .get(0);
        EvalOptions options = new EvalOptions(
                null,
                null,
                false,
                ChatOptions.MODELS_OWN,
                false,
                null,
                MAPPER.createObjectNode(),
                1234,
                0,
                false,
                false,
                null);
        DocFields fields = new DocFields();
        ObjectNode doc = MAPPER.createObjectNode().put("q", "Asked?").put("t", "answered");
        ObjectNode shot = MAPPER.createObjectNode().put("q", "One?").put("t", "first");
        return new PromptBuilder(read, options, fields, null)
                .arguments(doc, fields.text(read.fields(), doc), fields.target(read.fields(), doc), null, List.of(shot))
                .get(0)
                .context();
    }

    @Test
    void examplesHaveTheTasksDelimitersUnlessTheyHaveTheirOwn() throws IOException {
        assertThat(context("")).isEqualTo("One? first\n\nAsked?");
        assertThat(context("target_delimiter: \" = \"\nfewshot_delimiter: \" | \"\n"))
                .isEqualTo("One? = first | Asked?");
        assertThat(
                        context(
                                "target_delimiter: \" = \"\nfewshot_config: {target_delimiter: \": \", fewshot_delimiter: \";\"}"))
                .isEqualTo("One?: first;Asked?");
    }

    @Test
    void mmluProsSubjectsAndQuestions() {
        ObjectNode doc = MAPPER.createObjectNode().put("question", "Which?").put("category", "computer science");
        doc.put("cot_content", "A: Let's think step by step. It is so.");
        for (int i = 0; i < 11; i++) {
            doc.withArray("options").add(" o" + i + "\u00a0");
        }
        assertThat(TaskFunctions.documents("mmlu_pro/utils.process_computer_science")
                        .apply(doc))
                .contains(doc);
        assertThat(TaskFunctions.documents("mmlu_pro/utils.process_law").apply(doc))
                .isEmpty();
        assertThat(TaskFunctions.field("mmlu_pro/utils.doc_to_text").apply(doc).asText())
                .startsWith("Question:\nWhich?\nOptions:\nA. o0\nB. o1\n")
                .endsWith("J. o9\nAnswer: Let's think step by step.");
        assertThat(TaskFunctions.field("mmlu_pro/utils.fewshot_to_target")
                        .apply(doc)
                        .asText())
                .isEqualTo("It is so.");
    }
}
