package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.hash.Hashing;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowStreamWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The evaluate command on the harness's task files: everything is compared with {@code resources/eval/expected.json}, which the harness
 * itself wrote ({@code tests/reference/harness.py}).
 */
class EvaluateIT {
    private static final Path TASKS = Jobs.SHARED.resolve("data/lm_eval_tasks");
    private static final Path MODEL = Jobs.SHARED.resolve("real/stories260K-hf");
    private static final Path RESOURCES = Jobs.ROOT.resolve("tests/src/test/resources/eval");
    private static final String CHAT_TEMPLATE =
            "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
                    + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    @TempDir
    Path temp;

    private Path data;
    private Path out;

    @BeforeEach
    void place() throws IOException {
        data = Files.createDirectory(temp.resolve("data"));
        out = temp.resolve("out");
        for (Path from : List.of(RESOURCES.resolve("data"), Jobs.SHARED.resolve("data"))) {
            try (Stream<Path> folders = Files.list(from)) {
                for (Path folder : folders.filter(Files::isDirectory).toList()) {
                    Files.createSymbolicLink(data.resolve(folder.getFileName()), folder);
                }
            }
        }
    }

    private String[] args(Path model, String tasks, String... more) {
        return args(model, TASKS, tasks, more);
    }

    private String[] args(Path model, Path folder, String tasks, String... more) {
        List<String> args = new ArrayList<>(List.of(
                "evaluate",
                "--model",
                model.toString(),
                "--tasks",
                tasks,
                "--tasks-dir",
                folder.toString(),
                "--data-dir",
                data.toString(),
                "--output",
                out.toString(),
                "--kv-memory",
                "64m",
                "--bootstrap-iters",
                "1000"));
        args.addAll(List.of(more));
        return args.toArray(new String[0]);
    }

    private Path folder(Path model) {
        return out.resolve(model.toString().replaceAll("/+", "__"));
    }

    /** The newest file of the harness's kind. */
    private Path newest(Path model, String prefix) throws IOException {
        try (Stream<Path> files = Files.list(folder(model))) {
            return files.filter(file -> file.getFileName().toString().startsWith(prefix))
                    .max(Path::compareTo)
                    .orElseThrow();
        }
    }

    private JsonNode results(Path model) throws IOException {
        return Jobs.MAPPER.readTree(newest(model, "results_").toFile());
    }

    private List<JsonNode> samples(Path model, String task) throws IOException {
        List<JsonNode> samples = new ArrayList<>();
        for (String line : Files.readAllLines(newest(model, "samples_" + task + "_2"))) {
            samples.add(Jobs.MAPPER.readTree(line));
        }
        return samples;
    }

    /** Holds a run to what the harness itself asked, got and found. */
    private void check(Path model, String which, String... more) throws IOException {
        JsonNode expected = Jobs.MAPPER
                .readTree(RESOURCES.resolve("expected.json").toFile())
                .path(which);
        assertThat(expected).isNotEmpty();
        List<String> names = new ArrayList<>();
        expected.fieldNames().forEachRemaining(names::add);
        List<String> all =
                new ArrayList<>(List.of("--limit", "4", "--gen-kwargs", "max_gen_toks=12", "--dtype", "f32"));
        all.addAll(List.of(more));
        Jobs.run(args(model, String.join(",", names), all.toArray(new String[0])));
        JsonNode results = results(model);
        assertThat(results.path("failed_documents")).isEmpty();
        for (String name : names) {
            JsonNode task = expected.path(name);
            assertThat(results.at("/n-shot/" + name)).as(name).isEqualTo(task.path("num_fewshot"));
            assertThat(results.at("/n-samples/" + name + "/original")).isEqualTo(task.path("documents"));
            List<JsonNode> samples = samples(model, name);
            assertThat(samples).as(name).hasSameSizeAs(task.path("samples"));
            // No code is run here, so that there is no figure of it.
            boolean judged = !name.startsWith("humaneval");
            for (JsonNode wanted : task.path("samples")) {
                JsonNode sample = samples.stream()
                        .filter(one -> one.path("doc_id").equals(wanted.path("doc_id"))
                                && one.path("filter").equals(wanted.path("filter")))
                        .findFirst()
                        .orElseThrow();
                List<String> metrics = new ArrayList<>();
                wanted.path("metrics").forEach(metric -> metrics.add(metric.asText()));
                wanted.fieldNames().forEachRemaining(field -> {
                    String where = "%s %s of %s".formatted(name, field, wanted.path("doc_id"));
                    if (field.equals("arguments")) {
                        assertThat(hashed(sample.path(field))).as(where).isEqualTo(wanted.path(field));
                    } else if (judged || !(metrics.contains(field) || field.equals("metrics"))) {
                        assertSame(where, sample.path(field), wanted.path(field));
                    }
                });
            }
            if (judged) {
                task.path("results")
                        .properties()
                        .forEach(entry -> assertSame(
                                name + " " + entry.getKey(),
                                results.path("results").path(name).path(entry.getKey()),
                                entry.getValue()));
            }
        }
    }

    /** Contexts by their hashes, and continuations. */
    private static JsonNode hashed(JsonNode arguments) {
        List<List<String>> all = new ArrayList<>();
        arguments.forEach(one -> {
            List<String> texts = new ArrayList<>(List.of(Hashing.sha256()
                    .hashString(one.path("arg_0").asText(), StandardCharsets.UTF_8)
                    .toString()));
            if (one.path("arg_1").isTextual()) {
                texts.add(one.path("arg_1").asText());
            }
            all.add(texts);
        });
        return Jobs.MAPPER.valueToTree(all);
    }

    /** Equal but for float32's sums; in files of samples every leaf is a text. */
    private static void assertSame(String where, JsonNode actual, JsonNode expected) {
        if (expected.isArray()) {
            assertThat(actual).as(where).hasSameSizeAs(expected);
            for (int i = 0; i < expected.size(); i++) {
                assertSame(where, actual.get(i), expected.get(i));
            }
        } else if (expected.isNumber()) {
            double value = expected.asDouble();
            assertThat(Double.parseDouble(actual.asText()))
                    .as(where)
                    .isCloseTo(value, within(1e-4 * Math.max(1, Math.abs(value))));
        } else if (expected.isBoolean()) {
            assertThat(actual.asText()).as(where).isEqualToIgnoringCase(expected.asText());
        } else {
            assertThat(actual.asText()).as(where).isEqualTo(expected.asText());
        }
    }

    @Test
    void everythingIsTheHarnesss() throws IOException {
        check(MODEL, "own");
    }

    @Test
    void examplesAreDrawnAsTheHarnessDraws() throws IOException {
        check(MODEL, "three", "--num-fewshot", "3");
    }

    /** The story model with a chat template. */
    private Path chatModel(String template) throws IOException {
        return changed("chat", "tokenizer_config.json", json -> json.put("chat_template", template));
    }

    private Path changed(String name, String file, java.util.function.Consumer<ObjectNode> change) throws IOException {
        Path model = Files.createDirectory(temp.resolve(name));
        try (Stream<Path> files = Files.list(Jobs.SHARED.resolve("real/stories260K-hf"))) {
            for (Path one : files.toList()) {
                Files.write(model.resolve(one.getFileName()), Files.readAllBytes(one));
            }
        }
        Path target = model.resolve(file);
        ObjectNode json = Files.exists(target) ? (ObjectNode) Jobs.MAPPER.readTree(target.toFile()) : Jobs.row();
        change.accept(json);
        Files.writeString(target, json.toString());
        return model;
    }

    @Test
    void chatsHaveTheBeginTokenOnce() throws IOException {
        check(
                chatModel("{{ bos_token }}" + CHAT_TEMPLATE),
                "chat",
                "--num-fewshot",
                "3",
                "--apply-chat-template",
                "--system-instruction",
                "Be brief.");
    }

    @Test
    void chatsOfOneTurn() throws IOException {
        check(
                chatModel(CHAT_TEMPLATE),
                "single",
                "--num-fewshot",
                "3",
                "--apply-chat-template",
                "--no-fewshot-as-multiturn",
                "--add-bos-token");
    }

    @Test
    void longTextsAreCutAndRolledThroughWindows() throws IOException {
        Path small = changed("small", "config.json", json -> json.put("max_position_embeddings", 64));
        check(small, "short", "--no-add-bos-token");
    }

    @Test
    void aSecondRunAsksOnlyWhatIsNew() throws IOException {
        Path hybrid = Jobs.SHARED.resolve("real/stories-hybrid-moe");
        String[] options = {"--limit", "6", "--gen-kwargs", "max_gen_toks=8", "--num-fewshot", "1"};
        Jobs.run(args(hybrid, "gsm8k,sciq", options));
        JsonNode first = results(hybrid);
        assertThat(first.at("/nightmill/rows/in").asInt()).isEqualTo(12);
        assertThat(first.at("/nightmill/plan/shared_prompt_tokens").asInt()).isPositive();
        Jobs.run(args(hybrid, "gsm8k,sciq,piqa", options));
        JsonNode second = results(hybrid);
        assertThat(second.at("/nightmill/rows/kept").asInt()).isEqualTo(12);
        assertThat(second.at("/nightmill/rows/in").asInt()).isEqualTo(18);
        for (String task : List.of("gsm8k", "sciq")) {
            assertThat(second.at("/results/" + task)).isEqualTo(first.at("/results/" + task));
            assertThat(second.at("/task_hashes/" + task)).isEqualTo(first.at("/task_hashes/" + task));
        }
        // Names of the harness's results.
        assertThat(second.fieldNames())
                .toIterable()
                .contains(
                        "results",
                        "group_subtasks",
                        "configs",
                        "versions",
                        "n-shot",
                        "higher_is_better",
                        "n-samples",
                        "config",
                        "git_hash",
                        "date",
                        "pretty_env_info",
                        "transformers_version",
                        "lm_eval_version",
                        "upper_git_hash",
                        "task_hashes",
                        "model_source",
                        "model_name",
                        "model_name_sanitized",
                        "system_instruction",
                        "system_instruction_sha",
                        "fewshot_as_multiturn",
                        "chat_template",
                        "chat_template_sha",
                        "total_evaluation_time_seconds");
    }

    @Test
    void groupsWeighTheirTasks() throws IOException {
        Path tasks = Files.createDirectory(temp.resolve("tasks"));
        for (String file : List.of("sciq/sciq.yaml", "arc/arc_easy.yaml")) {
            Files.copy(TASKS.resolve(file), tasks.resolve(Path.of(file).getFileName()));
        }
        Files.writeString(
                tasks.resolve("group.yaml"),
                """
                group: school
                task: [sciq, arc_easy]
                aggregate_metric_list: [{metric: acc}, {metric: acc_norm, weight_by_size: false}]
                metadata: {version: 2}
                """);
        Jobs.run(args(MODEL, tasks, "school"));
        JsonNode results = results(MODEL);
        JsonNode all = results.path("results");
        double weighted = (6 * all.at("/sciq/acc,none").asDouble()
                        + 7 * all.at("/arc_easy/acc,none").asDouble())
                / 13;
        double plain = (all.at("/sciq/acc_norm,none").asDouble()
                        + all.at("/arc_easy/acc_norm,none").asDouble())
                / 2;
        assertThat(all.at("/school/acc,none").asDouble()).isCloseTo(weighted, within(1e-12));
        assertThat(results.at("/groups/school/acc_norm,none").asDouble()).isCloseTo(plain, within(1e-12));
        double a = all.at("/sciq/acc_stderr,none").asDouble();
        double b = all.at("/arc_easy/acc_stderr,none").asDouble();
        assertThat(all.at("/school/acc_stderr,none").asDouble())
                .isCloseTo(Math.sqrt((5 * a * a * 6 + 6 * b * b * 7) / 11 / 13), within(1e-12));
        assertThat(all.at("/sciq/alias").asText()).isEqualTo(" - sciq");
        assertThat(results.path("group_subtasks").path("school").toString()).isEqualTo("[\"arc_easy\",\"sciq\"]");
        assertThat(results.at("/versions/school").asInt()).isEqualTo(2);
    }

    @Test
    void modelsAreCompared() throws IOException {
        Path other = Jobs.SHARED.resolve("real/stories260K.gguf");
        Path hybrid = Jobs.SHARED.resolve("real/stories-hybrid-moe");
        String[] args = args(MODEL, "sciq");
        args[2] = MODEL + "," + other + "," + hybrid;
        Jobs.run(args);
        JsonNode comparison =
                Jobs.MAPPER.readTree(out.resolve("comparison.json").toFile());
        assertThat(comparison.path("models")).hasSize(3);
        JsonNode acc = comparison.path("comparisons").get(0);
        // One network in two formats answers alike.
        assertThat(acc.at("/against_first/0/difference").asDouble()).isZero();
        assertThat(acc.at("/against_first/0/p_value").asDouble()).isEqualTo(1);
        Map<String, Double> values = new TreeMap<>();
        for (Path model : List.of(MODEL, hybrid)) {
            values.put(
                    model.toString(),
                    results(model).at("/results/sciq/acc,none").asDouble());
        }
        assertThat(acc.at("/against_first/1/difference").asDouble())
                .isCloseTo(values.get(hybrid.toString()) - values.get(MODEL.toString()), within(1e-12));
        assertThat(acc.at("/against_first/1/p_value").asDouble()).isBetween(0.0, 1.0);
    }

    @Test
    void generatedCodeRunsOnlyInASandbox() throws IOException {
        Jobs.run(args(MODEL, "humaneval", "--gen-kwargs", "max_gen_toks=2"));
        assertThat(results(MODEL).at("/results/humaneval").has("pass@1,create_test"))
                .isFalse();
        assertThat(samples(MODEL, "humaneval")).hasSize(5);
        // A sandbox that passes what defines the third function.
        Jobs.run(args(
                MODEL,
                "humaneval",
                "--gen-kwargs",
                "max_gen_toks=2",
                "--confirm-run-unsafe-code",
                "--code-sandbox",
                "grep -q 'def add2'"));
        assertThat(results(MODEL).at("/results/humaneval/pass@1,create_test").asDouble())
                .isEqualTo(0.2);
        assertThat(Jobs.fail(args(MODEL, "humaneval", "--confirm-run-unsafe-code")))
                .contains("expected both --confirm-run-unsafe-code and --code-sandbox");
    }

    @Test
    void documentsThatCannotBeAskedAreNamed() throws IOException {
        Path folder = Files.createDirectories(data.resolve("mine"));
        Files.writeString(
                folder.resolve("test.jsonl"),
                """
                {"q": "one", "choices": ["a", "b"], "gold": 0}
                {"q": "two", "choices": "no list", "gold": 0}
                {"q": "three", "choices": ["a", "b"], "gold": 1}
                """);
        Path tasks = Files.createDirectory(temp.resolve("tasks"));
        Files.writeString(
                tasks.resolve("mine.yaml"),
                """
                task: mine
                dataset_path: me/mine
                test_split: test
                output_type: multiple_choice
                doc_to_text: "{{q}}?"
                doc_to_target: gold
                doc_to_choice: choices
                metric_list: [{metric: acc}]
                """);
        Jobs.run(args(MODEL, tasks, "mine"));
        JsonNode results = results(MODEL);
        assertThat(results.at("/failed_documents/mine/1").asText()).contains("doc_to_choice gives \"no list\"");
        assertThat(samples(MODEL, "mine")).hasSize(2);
        assertThat(Jobs.fail(args(MODEL, "mmlu_astronomy")))
                .contains("Cannot read the split 'test' of the task mmlu_astronomy")
                .contains("no file or folder of that split is in");
        Files.delete(data.resolve("piqa"));
        assertThat(Jobs.fail(args(MODEL, "piqa", "--apply-chat-template"))).contains("the model has no chat template");
        assertThat(Jobs.fail(args(Jobs.SHARED.resolve("golden/llama"), "piqa"))).contains("llama: it has no tokenizer");
        assertThat(Jobs.fail(args(MODEL, "piqa")))
                .contains("there is no folder baber/piqa below --data-dir")
                .contains("hf download --repo-type dataset baber/piqa");
        assertThat(Jobs.fail(args(MODEL, "gsm8k", "--gen-kwargs", "max_gen_toks=99999")))
                .contains("it may generate 99999 tokens, and the model's context has");
    }

    @Test
    void datasetsLieInManyLayouts() throws IOException {
        Path tasks = Files.createDirectory(temp.resolve("tasks"));
        Path jsonl = RESOURCES.resolve("data/piqa/validation.jsonl");
        Path formats = Files.createDirectory(data.resolve("formats"));
        try (SparkSession spark = SparkSession.builder().master("local[1]").getOrCreate()) {
            Dataset<Row> docs = spark.read().json(jsonl.toString()).select("goal", "sol1", "sol2", "label");
            docs.coalesce(1).write().parquet(temp.resolve("parquet").toString());
        }
        Path hub = Files.createDirectories(formats.resolve("hub/data"));
        try (Stream<Path> files = Files.list(temp.resolve("parquet"))) {
            Path part = files.filter(file -> file.toString().endsWith(".parquet"))
                    .findFirst()
                    .orElseThrow();
            Files.copy(part, hub.resolve("validation-00000-of-00001.parquet"));
        }
        List<JsonNode> rows = new ArrayList<>();
        for (String line : Files.readAllLines(jsonl)) {
            rows.add(Jobs.MAPPER.readTree(line));
        }
        Files.writeString(
                Files.createDirectories(formats.resolve("list")).resolve("valid.json"),
                Jobs.MAPPER.writeValueAsString(rows));
        StringBuilder csv = new StringBuilder("goal,sol1,sol2,label\n");
        for (JsonNode row : rows) {
            for (String column : List.of("goal", "sol1", "sol2")) {
                csv.append('"')
                        .append(row.path(column).asText().replace("\"", "\"\""))
                        .append("\",");
            }
            csv.append(row.path("label").asInt()).append('\n');
        }
        Files.writeString(Files.createDirectories(formats.resolve("csv")).resolve("dev.csv"), csv);
        writeArrow(
                Files.createDirectories(formats.resolve("disk/validation")).resolve("data-00000-of-00001.arrow"), rows);
        String piqa = Files.readString(TASKS.resolve("piqa/piqa.yaml"));
        List<String> names = new ArrayList<>(List.of("piqa"));
        Files.writeString(tasks.resolve("piqa.yaml"), piqa);
        for (String layout : List.of("hub", "list", "csv", "disk")) {
            names.add("piqa_" + layout);
            Files.writeString(
                    tasks.resolve(layout + ".yaml"),
                    piqa.replace("task: piqa", "task: piqa_" + layout).replace("baber/piqa", "formats/" + layout));
        }
        for (String builder : List.of("json", "table")) {
            names.add("piqa_" + builder);
            String file = builder.equals("json") ? jsonl.toString() : "parquet.`%s`".formatted(temp.resolve("parquet"));
            Files.writeString(
                    tasks.resolve(builder + ".yaml"),
                    piqa.replace("task: piqa", "task: piqa_" + builder)
                            .replace(
                                    "dataset_path: baber/piqa",
                                    "dataset_path: %s\ndataset_kwargs: {data_files: {validation: '%s'}}"
                                            .formatted(builder, file)));
        }
        Jobs.run(args(MODEL, tasks, String.join(",", names)));
        JsonNode results = results(MODEL);
        assertThat(results.path("failed_documents")).isEmpty();
        String hash = results.at("/task_hashes/piqa").asText();
        assertThat(hash).hasSize(64);
        for (String name : names) {
            assertThat(results.at("/task_hashes/" + name).asText()).as(name).isEqualTo(hash);
        }
        // What is asked seven times is computed once.
        assertThat(results.at("/nightmill/rows/duplicates").asInt()).isEqualTo(36);
    }

    /** As {@code save_to_disk} does: a stream of record batches. */
    private static void writeArrow(Path file, List<JsonNode> rows) throws IOException {
        List<String> names = List.of("goal", "sol1", "sol2");
        try (RootAllocator allocator = new RootAllocator();
                OutputStream out = Files.newOutputStream(file)) {
            List<FieldVector> vectors = new ArrayList<>();
            for (String name : names) {
                VarCharVector vector = new VarCharVector(name, allocator);
                vector.allocateNew();
                for (int i = 0; i < rows.size(); i++) {
                    vector.setSafe(i, rows.get(i).path(name).asText().getBytes(StandardCharsets.UTF_8));
                }
                vectors.add(vector);
            }
            BigIntVector label = new BigIntVector("label", allocator);
            label.allocateNew();
            for (int i = 0; i < rows.size(); i++) {
                label.setSafe(i, rows.get(i).path("label").asInt());
            }
            vectors.add(label);
            vectors.forEach(vector -> vector.setValueCount(rows.size()));
            try (VectorSchemaRoot root = new VectorSchemaRoot(vectors);
                    ArrowStreamWriter writer = new ArrowStreamWriter(root, null, Channels.newChannel(out))) {
                writer.writeBatch();
            }
        }
    }
}
