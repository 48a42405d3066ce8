package io.nightmill.jobs.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The harness's own task files, and broken ones. */
class TaskIndexTest {
    private static final Path TASKS =
            Path.of(System.getProperty("nightmill.shared")).resolve("data/lm_eval_tasks");
    private static final EvalTask.Overrides NONE = new EvalTask.Overrides(null, new ObjectMapper().createObjectNode());

    @TempDir
    Path temp;

    private List<String> names(String... wanted) {
        return TaskTree.tasks(new TaskIndex(List.of(TASKS), NONE).resolve(List.of(wanted))).stream()
                .map(EvalTask::name)
                .toList();
    }

    private TaskIndex index(String... files) throws IOException {
        for (int i = 0; i < files.length; i++) {
            Files.writeString(temp.resolve("task%d.yaml".formatted(i)), files[i]);
        }
        return new TaskIndex(List.of(temp), NONE);
    }

    @Test
    void tasksGroupsTagsAndPatterns() {
        assertThat(names("gsm8k")).containsExactly("gsm8k");
        assertThat(names("bbh_cot_fewshot")).hasSize(27).contains("bbh_cot_fewshot_navigate");
        // Both have the tag: one includes the other.
        assertThat(names("ai2_arc")).containsExactly("arc_challenge", "arc_easy");
        assertThat(names("mmlu_stem")).hasSize(3).contains("mmlu_astronomy");
        // Not all of its parts are there.
        assertThatThrownBy(() -> names("mmlu"))
                .hasMessageContaining(
                        "Cannot find the task 'mmlu_social_sciences_tasks' of group mmlu_social_sciences");
        assertThat(names("gsm8k_cot*")).contains("gsm8k_cot", "gsm8k_cot_llama", "gsm8k_cot_zeroshot");
        assertThat(names(TASKS.resolve("piqa/piqa.yaml").toString())).containsExactly("piqa");
    }

    @Test
    void everySharedTaskCanBeUsedOrSaysWhatItLacks() {
        TaskIndex index = new TaskIndex(List.of(TASKS), NONE);
        int usable = 0;
        for (EvalTask task : TaskTree.tasks(index.resolve(List.of(
                "arc*", "bbh*", "boolq*", "gsm8k*", "h*", "i*", "l*", "n*", "o*", "p*", "s*", "t*", "w*",
                "mmlu_a*")))) {
            try {
                Evaluation.check(task, 1 << 20);
                usable++;
            } catch (IllegalArgumentException e) {
                assertThat(task.name()).isIn("truthfulqa_gen", "ifeval_ca", "ifeval_es");
                assertThat(e).hasMessageContaining("Cannot use the task " + task.name());
            }
        }
        assertThat(usable).isGreaterThan(80);
    }

    @Test
    void numberOfExamplesIsTheUsersUnlessTheTaskSaysNone() {
        EvalTask.Overrides three = new EvalTask.Overrides(3, new ObjectMapper().createObjectNode());
        List<EvalTask> tasks = TaskTree.tasks(
                new TaskIndex(List.of(TASKS), three).resolve(List.of("gsm8k", "gsm8k_cot_zeroshot", "piqa")));
        assertThat(tasks).extracting(task -> task.fewShot().count()).containsExactly(3, 0, 3);
    }

    @Test
    void whatIsWrongIsNamed() throws IOException {
        assertThatThrownBy(() -> names("gsm9k")).hasMessageContaining("Cannot find the task 'gsm9k' of --tasks");
        String ok = "task: a\ndataset_path: d\ntest_split: test\ndoc_to_text: q\ndoc_to_target: t\n";
        assertThatThrownBy(() -> index(ok + "doc_to_txt: x").resolve(List.of("a")))
                .hasMessageContaining("Cannot use the task a: it has the key 'doc_to_txt', expected one of");
        assertThatThrownBy(() -> index(ok + "output_type: guess").resolve(List.of("a")))
                .hasMessageContaining("output_type 'guess' is not one of");
        assertThatThrownBy(() ->
                        index("task: a\ndataset_path: d\ndoc_to_target: t\n").resolve(List.of("a")))
                .hasMessageContaining("it has neither test_split nor validation_split");
        for (String broken : List.of("include: b.yaml\n", "include: task1.yaml\n", "a: [\n")) {
            // Others can be used beside it.
            assertThat(index(ok, broken).resolve(List.of("a"))).hasSize(1);
        }
        assertThatThrownBy(() -> index(ok, "include: b.yaml\n").resolve(List.of("b")))
                .hasMessageContaining("b.yaml, which is not there");
        assertThatThrownBy(() -> index(ok, "include: task1.yaml\n").resolve(List.of("b")))
                .hasMessageContaining("it includes itself");
        assertThatThrownBy(() -> index(ok, "a: [\n").resolve(List.of("b")))
                .hasMessageContaining("Cannot find the task 'b'")
                .hasMessageContaining("Cannot read the task file");
        assertThatThrownBy(() -> index(ok, ok).resolve(List.of("a")))
                .hasMessageContaining("Cannot tell which 'a' is meant");
        Files.delete(temp.resolve("task1.yaml"));
        EvalTask metric = TaskTree.tasks(
                        index(ok + "metric_list: [{metric: rouge}]").resolve(List.of("a")))
                .get(0);
        assertThatThrownBy(() -> Evaluation.check(metric, 4096))
                .hasMessage("Cannot use the task a: the metric 'rouge' is not known");
        EvalTask kwargs = TaskTree.tasks(
                        index(ok + "generation_kwargs: {num_beams: 4}").resolve(List.of("a")))
                .get(0);
        assertThatThrownBy(() -> Evaluation.check(kwargs, 4096)).hasMessageContaining("has the key 'num_beams'");
        EvalTask function = TaskTree.tasks(
                        index(ok + "process_docs: !function utils.mine").resolve(List.of("a")))
                .get(0);
        assertThatThrownBy(() -> Evaluation.check(function, 4096))
                .hasMessageContaining("utils.mine has no counterpart here");
    }
}
