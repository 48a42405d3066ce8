package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.esotericsoftware.kryo.Kryo;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.ModelLoader;
import io.nightmill.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.SparkPlugin;
import org.apache.spark.serializer.KryoRegistrator;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a user does with the commands, on a real model. */
class JobsIT {
    private static final String MODEL =
            Jobs.SHARED.resolve("real/stories260K.gguf").toString();

    @TempDir
    Path temp;

    private Path out;

    @BeforeEach
    void place() {
        out = temp.resolve("out");
    }

    private Path input(String... lines) throws IOException {
        return Files.write(temp.resolve("in.jsonl"), List.of(lines));
    }

    private void run(String command, Path input, String... more) {
        Jobs.run(args(command, input, more));
    }

    private String[] args(String command, Path input, String... more) {
        return argsOn(MODEL, command, input, more);
    }

    private String[] argsOn(String model, String command, Path input, String... more) {
        List<String> args =
                Jobs.args(command, Path.of(model), input, out, "--output-format", "jsonl", "--kv-memory", "64m");
        args.addAll(List.of(more));
        return args.toArray(new String[0]);
    }

    @Test
    void greedyStoryIsTheKnownOne() throws IOException {
        run("generate", input("{\"id\":\"a\",\"prompt\":\"Once upon a time\"}"), "--max-tokens", "40");
        JsonNode row = Jobs.results(out).get("a");
        assertThat(row.at("/outputs/0/text").asText())
                .startsWith(", there was a little girl named Lily. She loved to play outside");
        assertThat(row.at("/outputs/0/finish_reason").asText()).isEqualTo("length");
        assertThat(row.at("/usage/completion_tokens").asInt()).isEqualTo(40);
        assertThat(row.path("status").asText()).isEqualTo("ok");
        assertThat(row.path("error").isNull()).isTrue();
    }

    @Test
    void everyBadRowIsARowThatSaysWhy() throws IOException {
        Path input = input(
                "{\"id\":\"good\",\"prompt\":\"Once\",\"seed\":3}",
                "{\"id\":\"null\",\"prompt\":null}",
                "{\"id\":\"range\",\"prompt_token_ids\":[1,512]}",
                "{\"id\":\"parameter\",\"prompt\":\"Once\",\"temperature\":-2}",
                "{\"id\":\"long\",\"prompt\":\"%s\"}".formatted("word ".repeat(3000)),
                "{\"id\":\"chat\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                "this is no json");
        run("generate", input, "--max-tokens", "4");
        Map<String, String> errors = new java.util.TreeMap<>();
        for (JsonNode row : Jobs.rows(out)) {
            String id = row.path("id").asText();
            errors.put(
                    id.length() > 20 ? "line" : id,
                    row.at("/error/code").asText() + ": "
                            + row.at("/error/message").asText());
        }
        assertThat(errors.get("good")).isEqualTo(": ");
        assertThat(errors.get("null")).isEqualTo("bad_input: the prompt is null");
        assertThat(errors.get("range")).isEqualTo("bad_input: token id 512 is out of range, expected 0 to 511");
        assertThat(errors.get("parameter")).isEqualTo("bad_input: Cannot use temperature -2.0: expected 0 or more");
        assertThat(errors.get("long")).matches("too_long: \\d+ tokens do not fit the model's context of 2048");
        assertThat(errors.get("chat")).contains("no chat template");
        assertThat(errors.get("line")).contains("this is no json");
        assertThat(Jobs.report(out).at("/rows/in").asInt()).isEqualTo(7);
        assertThat(Jobs.report(out).at("/rows/errors/bad_input").asInt()).isEqualTo(5);
        assertThat(Jobs.report(out).at("/rows/ok").asInt()).isEqualTo(1);
    }

    @Test
    void longPromptsAreCutWhereAsked() throws IOException {
        Path input = input("{\"id\":\"a\",\"prompt\":\"%s\"}".formatted("word ".repeat(3000)));
        run("generate", input, "--max-tokens", "8", "--on-too-long", "truncate-left");
        assertThat(Jobs.results(out).get("a").at("/usage/prompt_tokens").asInt())
                .isEqualTo(2040);
        assertThat(Jobs.results(out).get("a").at("/usage/completion_tokens").asInt())
                .isEqualTo(8);
    }

    @Test
    void stopStringsPromptLogprobsAndRowParameters() throws IOException {
        Path input = input(
                "{\"id\":\"stop\",\"prompt\":\"Once upon a time\",\"max_tokens\":60,\"stop\":[\"Lily\",\"zebra\"]}",
                "{\"id\":\"keep\",\"prompt\":\"Once upon a time\",\"max_tokens\":60,\"stop\":[\"Lily\"],\"include_stop_str_in_output\":true}",
                "{\"id\":\"logprobs\",\"prompt\":\"Once upon a time\",\"max_tokens\":3,\"prompt_logprobs\":2,\"n\":2,\"temperature\":1.0}");
        run("generate", input, "--max-tokens", "5");
        Map<String, JsonNode> rows = Jobs.results(out);
        JsonNode stopped = rows.get("stop").at("/outputs/0");
        assertThat(stopped.path("text").asText()).isEqualTo(", there was a little girl named ");
        assertThat(stopped.path("finish_reason").asText()).isEqualTo("stop");
        assertThat(stopped.path("stop_reason").asText()).isEqualTo("Lily");
        assertThat(rows.get("keep").at("/outputs/0/text").asText()).endsWith("named Lily");
        JsonNode logprobs = rows.get("logprobs");
        assertThat(logprobs.path("prompt_logprobs").size())
                .isEqualTo(logprobs.path("prompt_token_ids").size());
        assertThat(logprobs.at("/prompt_logprobs/0").isNull()).isTrue();
        assertThat(logprobs.at("/prompt_logprobs/1/top").size()).isEqualTo(2);
        assertThat(logprobs.path("outputs").size()).isEqualTo(2);
    }

    @Test
    void scoresTextContinuationsAndChoices() throws IOException {
        run("score", input("{\"id\":\"a\",\"prompt\":\"Once upon a time, there was a girl\"}"), "--top-logprobs", "2");
        JsonNode row = Jobs.results(out).get("a");
        int count = row.path("token_count").asInt();
        assertThat(row.path("token_logprobs").size())
                .isEqualTo(count)
                .isEqualTo(row.path("token_ids").size());
        assertThat(row.at("/token_logprobs/0").isNull()).isTrue();
        double sum = 0;
        for (int i = 1; i < count; i++) {
            sum += row.path("token_logprobs").get(i).doubleValue();
            assertThat(row.path("top_logprobs").get(i).size()).isEqualTo(2);
        }
        assertThat(row.path("logprob_sum").doubleValue()).isCloseTo(sum, within(1e-4));
        assertThat(row.path("perplexity").doubleValue()).isCloseTo(Math.exp(-sum / (count - 1)), within(1e-3));

        Path choices = input(
                "{\"id\":\"c\",\"prompt\":\"Once upon a time, \",\"choices\":[\"there was\",\"zebra\"]}",
                "{\"id\":\"none\",\"prompt\":\"Once\",\"choices\":null}");
        run("score", choices, "--mode", "overwrite");
        JsonNode scores = Jobs.results(out).get("c").path("scores");
        assertThat(scores.at("/0/logprob").doubleValue())
                .isGreaterThan(scores.at("/1/logprob").doubleValue());
        assertThat(scores.at("/0/is_greedy").booleanValue()).isTrue();
        assertThat(scores.at("/1/is_greedy").booleanValue()).isFalse();
        assertThat(scores.at("/0/char_count").asInt()).isEqualTo(9);
        // The choices' own log-probabilities are those of the whole text after the prompt.
        String whole = "Once upon a time, there was";
        run("score", input("{\"id\":\"w\",\"prompt\":\"%s\"}".formatted(whole)), "--mode", "overwrite");
        JsonNode text = Jobs.results(out).get("w");
        int from =
                text.path("token_count").asInt() - scores.at("/0/token_count").asInt();
        double tail = IntStream.range(from, text.path("token_count").asInt())
                .mapToDouble(i -> text.path("token_logprobs").get(i).doubleValue())
                .sum();
        assertThat(scores.at("/0/logprob").doubleValue()).isCloseTo(tail, within(1e-5));
    }

    @Test
    void tablesOfEveryFormatGiveTheSameResults() throws IOException {
        List<ObjectNode> rows = new ArrayList<>();
        for (int i = 0; i < 9; i++) {
            rows.add(Jobs.row().put("id", "r" + i).put("text", "The cat " + i).put("weight", i * 0.5));
        }
        Path jsonl = Jobs.jsonl(temp.resolve("t.jsonl"), rows);
        String[] more = {"--prompt-template", "Story: {{text}}", "--keep-columns", "weight,text", "--max-tokens", "6"};
        run("generate", jsonl, more);
        Map<String, String> expected = Jobs.withoutTiming(out);
        assertThat(expected).hasSize(9);
        assertThat(expected.get("r3")).contains("\"weight\":1.5", "\"text\":\"The cat 3\"");

        SparkSession spark = SparkSession.builder()
                .master("local[1]")
                .config("spark.ui.enabled", "false")
                .getOrCreate();
        Dataset<Row> table = spark.read().json(jsonl.toString());
        for (String format : List.of("parquet", "orc", "csv")) {
            table.write()
                    .format(format)
                    .option("header", "true")
                    .save(temp.resolve("t." + format).toString());
        }
        spark.stop();
        for (String format : List.of("parquet", "orc", "csv")) {
            List<String> all = new ArrayList<>(List.of(more));
            all.addAll(List.of("--mode", "overwrite"));
            run("generate", temp.resolve("t." + format), all.toArray(new String[0]));
            assertThat(Jobs.withoutTiming(out)).as(format).isEqualTo(expected);
        }
        // Results as Arrow files are read back as prompts.
        Path arrow = temp.resolve("results.arrow");
        List<String> args = new ArrayList<>(Arrays.asList(args("generate", jsonl, more)));
        args.set(args.indexOf("jsonl"), "arrow");
        args.set(args.indexOf(out.toString()), arrow.toString());
        Jobs.run(args.toArray(new String[0]));
        run(
                "generate",
                arrow,
                "--prompt-template",
                "Story: {{text}}",
                "--keep-columns",
                "weight,text",
                "--max-tokens",
                "6",
                "--mode",
                "overwrite");
        assertThat(Jobs.withoutTiming(out)).isEqualTo(expected);
    }

    @Test
    void modelAndTablesOnAnyHadoopFileSystem() throws IOException {
        System.setProperty("spark.hadoop.fs.remote.impl", RemoteFiles.class.getName());
        try {
            Path input = input("{\"id\":\"a\",\"prompt_token_ids\":[3,1,4,1,5]}");
            Path model = Jobs.SHARED.resolve("golden/qwen3_moe").toRealPath();
            String[] local = {
                "generate",
                "--model",
                model.toString(),
                "--input",
                input.toString(),
                "--output",
                out.toString(),
                "--output-format",
                "jsonl",
                "--kv-memory",
                "16m"
            };
            Jobs.run(local);
            Map<String, String> expected = Jobs.withoutTiming(out);
            Path elsewhere = temp.resolve("elsewhere");
            Jobs.run(
                    "generate",
                    "--model",
                    "remote://" + model,
                    "--input",
                    "remote://" + input,
                    "--output",
                    "remote://" + elsewhere,
                    "--output-format",
                    "jsonl",
                    "--kv-memory",
                    "16m");
            assertThat(Jobs.withoutTiming(elsewhere)).isEqualTo(expected);
            assertThat(Jobs.fail(
                            "generate",
                            "--model",
                            "remote:///no/model",
                            "--input",
                            input.toString(),
                            "--output",
                            "remote:///y"))
                    .contains("Cannot open model remote:///no/model: there is no such file or folder");
        } finally {
            System.clearProperty("spark.hadoop.fs.remote.impl");
        }
    }

    /** What a user's cluster may bring along. */
    public static final class TheirPlugin implements SparkPlugin {
        static int started;

        @Override
        public @Nullable DriverPlugin driverPlugin() {
            started++;
            return null;
        }

        @Override
        public @Nullable ExecutorPlugin executorPlugin() {
            return null;
        }
    }

    public static final class TheirKryo implements KryoRegistrator {
        static int registered;

        @Override
        public void registerClasses(Kryo kryo) {
            registered++;
        }
    }

    @Test
    void pluginsAndRegistratorsOfTheUserStay() throws IOException {
        System.setProperty("spark.plugins", TheirPlugin.class.getName());
        System.setProperty("spark.kryo.registrator", TheirKryo.class.getName());
        try {
            run("generate", input("{\"id\":\"a\",\"prompt\":\"Once upon a time\"}"), "--max-tokens", "2");
        } finally {
            System.clearProperty("spark.plugins");
            System.clearProperty("spark.kryo.registrator");
        }
        assertThat(Jobs.results(out).get("a").path("status").asText()).isEqualTo("ok");
        assertThat(TheirPlugin.started).isEqualTo(1);
        assertThat(TheirKryo.registered).isPositive();
    }

    @Test
    void conversationsGoThroughTheModelsTemplate() throws IOException {
        Path model = Files.createDirectories(temp.resolve("chat"));
        for (String file : List.of("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")) {
            Files.copy(Jobs.SHARED.resolve("real/stories260K-hf").resolve(file), model.resolve(file));
        }
        Files.writeString(
                model.resolve("chat_template.jinja"),
                "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
                        + "{{ m.content }}{% endfor %}");
        Path input = input(
                "{\"id\":\"chat\",\"messages\":[{\"role\":\"system\",\"content\":\"Once upon\"},{\"role\":\"user\",\"content\":\" a time\"}]}",
                "{\"id\":\"refused\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}");
        Jobs.run(
                "generate",
                "--model",
                model.toString(),
                "--input",
                input.toString(),
                "--output",
                out.toString(),
                "--output-format",
                "jsonl",
                "--max-tokens",
                "20",
                "--return-token-ids");
        JsonNode chat = Jobs.results(out).get("chat");
        assertThat(chat.at("/outputs/0/text").asText()).startsWith(", there was a little girl");
        assertThat(chat.at("/prompt_token_ids/0").asInt())
                .as("one begin token, the template's")
                .isEqualTo(1);
        assertThat(chat.at("/prompt_token_ids/1").asInt()).isNotEqualTo(1);
        assertThat(Jobs.results(out).get("refused").at("/error/message").asText())
                .contains("no tools");
    }

    /** Names of vLLM's: what a row says goes before what the job says, and JSON keeps its order and its nulls. */
    @Test
    void templatesGetToolsAndTheirOwnNames() throws IOException {
        Path template = Files.writeString(
                temp.resolve("own.jinja"),
                "{{ bos_token }}{{ tools | tojson }}|{{ enable_thinking }}|{{ effort }}|{% for m in messages %}<{{ m.content }}>{% endfor %}"
                        + "{{ '!' if add_generation_prompt else '' }}");
        String messages =
                "\"messages\":[{\"content\":\"a\",\"role\":\"user\"},{\"role\":\"assistant\",\"content\":\"so\"}]";
        Path input = input(
                "{\"id\":\"plain\",%s}".formatted(messages),
                "{\"id\":\"tools\",%s,\"tools\":[{\"z\":1.0,\"a\":null,\"10\":{},\"9\":[]}]}".formatted(messages),
                "{\"id\":\"row\",%s,\"chat_template_kwargs\":{\"enable_thinking\":true}}".formatted(messages),
                "{\"id\":\"closed\",%s,\"add_generation_prompt\":false}".formatted(messages),
                "{\"id\":\"open\",%s,\"continue_final_message\":true}".formatted(messages),
                "{\"id\":\"broken\",\"messages\":\"[\"}",
                "{\"id\":\"both\",%s,\"continue_final_message\":true,\"add_generation_prompt\":true}"
                        .formatted(messages));
        Path model = Jobs.SHARED.resolve("real/stories260K-hf");
        Jobs.run(Jobs.args(
                        "generate",
                        model,
                        input,
                        out,
                        "--max-tokens",
                        "1",
                        "--output-format",
                        "jsonl",
                        "--return-token-ids",
                        "--chat-template",
                        template.toString(),
                        "--chat-template-kwargs",
                        "{\"enable_thinking\":false,\"effort\":\"low\"}")
                .toArray(new String[0]));
        Map<String, String> prompts = Map.of(
                "plain", "null|False|low|<a><so>!",
                "tools", "[{\"z\": 1.0, \"a\": null, \"10\": {}, \"9\": []}]|False|low|<a><so>!",
                "row", "null|True|low|<a><so>!",
                "closed", "null|False|low|<a><so>",
                "open", "null|False|low|<a><so");
        Tokenizer tokenizer = ModelLoader.loadText(model).tokenizer();
        Map<String, JsonNode> results = Jobs.results(out);
        prompts.forEach((id, prompt) -> assertThat(Jobs.ints(results.get(id).path("prompt_token_ids")))
                .as(id)
                .isEqualTo(tokenizer.encode("<s>" + prompt, false)));
        assertThat(results.get("broken").at("/error/message").asText())
                .contains("Cannot read messages: it is not JSON");
        assertThat(results.get("both").at("/error/message").asText()).contains("exclude each other");
        assertThat(Jobs.fail(Jobs.args("generate", model, input, out, "--chat-template-kwargs", "[]")
                        .toArray(new String[0])))
                .contains("chat-template-kwargs: it is [], expected an object");
        Files.writeString(template, "{% if %}");
        assertThat(Jobs.fail(Jobs.args("generate", model, input, out, "--chat-template", template.toString())
                        .toArray(new String[0])))
                .contains("Cannot use the chat template");
    }

    @Test
    void bytesThatAreNoTextAreABadRow() throws IOException {
        SparkSession spark = SparkSession.builder()
                .master("local[1]")
                .config("spark.ui.enabled", "false")
                .getOrCreate();
        spark.sql("select 'good' id, cast('Once' as binary) prompt union all select 'bad', X'4F6EFF'")
                .write()
                .parquet(temp.resolve("bytes.parquet").toString());
        spark.stop();
        run("generate", temp.resolve("bytes.parquet"), "--max-tokens", "2");
        assertThat(Jobs.results(out).get("good").path("status").asText()).isEqualTo("ok");
        assertThat(Jobs.results(out).get("bad").at("/error/message").asText()).isEqualTo("the prompt is not UTF-8");
    }

    @Test
    void idsAreMadeOfContentAndTellDuplicatesApart() throws IOException {
        Path input = input("{\"prompt\":\"Once\"}", "{\"prompt\":\"Twice\"}", "{\"prompt\":\"Once\"}");
        run("generate", input, "--max-tokens", "2");
        List<String> first = new ArrayList<>(Jobs.results(out).keySet());
        assertThat(first).hasSize(3);
        assertThat(first.stream().filter(id -> id.endsWith("-2"))).hasSize(1);
        run(
                "generate",
                input("{\"prompt\":\"Twice\"}", "{\"prompt\":\"Once\"}", "{\"prompt\":\"Once\"}"),
                "--max-tokens",
                "2",
                "--mode",
                "overwrite");
        assertThat(Jobs.results(out).keySet()).containsExactlyElementsOf(first);
    }

    @Test
    void jobFileSaysTheSameAsOptions() throws IOException {
        Path input = input("{\"id\":\"a\",\"prompt\":\"Once\"}");
        Path job =
                Files.writeString(temp.resolve("job.yaml"), "max_tokens: 7\ntemperature: 0\nstop-token-ids: [5, 6]\n");
        run("generate", input, "--config", job.toString());
        assertThat(Jobs.results(out).get("a").at("/usage/completion_tokens").asInt())
                .isEqualTo(7);
        Files.writeString(job, "max_token: 7\n");
        assertThat(Jobs.fail(args("generate", input, "--config", job.toString())))
                .contains("max_token", "nearest option is --max-tokens");
    }

    @Test
    void badJobsFailInOneLineBeforeAnythingRuns() throws IOException {
        Path input = input("{\"prompt\":\"Once\"}");
        assertThat(Jobs.fail(
                        "generate", "--model", "/no/model", "--input", input.toString(), "--output", out.toString()))
                .contains("nightmill: Cannot open model /no/model: there is no such file or folder");
        Files.createDirectories(out);
        Files.writeString(out.resolve("file"), "x");
        assertThat(Jobs.fail(args("generate", input))).contains("it exists. Give --mode overwrite");
        assertThat(Jobs.fail(args("generate", input, "--mode", "overwrite", "--frobnicate", "1")))
                .contains("--frobnicate");
        assertThat(Jobs.fail(args("generate", input, "--mode", "overwrite", "--top-p", "7")))
                .contains("top_p 7.0");
        String guessed = "{\"model\":\"%s\",\"num_speculative_tokens\":2}";
        assertThat(Jobs.fail(args(
                        "generate",
                        input,
                        "--mode",
                        "overwrite",
                        "--speculative-config",
                        guessed.formatted(Jobs.SHARED.resolve("golden/llama")))))
                .contains("Cannot guess by the draft model", "it has 256 tokens, expected the model's 512");
        assertThat(Jobs.fail(
                        args("generate", input, "--mode", "overwrite", "--speculative-config", "{\"model\":\"x\"}")))
                .contains("num_speculative_tokens");
        assertThat(Jobs.fail(args("generate", input("{\"question\":\"?\"}"), "--mode", "overwrite")))
                .contains("Cannot find prompts in the input: it has the columns [question]");

        assertThat(Jobs.fail(args("generate", temp.resolve("nothing.jsonl"), "--mode", "overwrite")))
                .contains("nightmill: Cannot read --input", "nothing.jsonl: there is no such file or folder");

        Path broken = temp.resolve("broken");
        Files.createDirectories(broken);
        Path golden = Jobs.SHARED.resolve("golden/llama");
        Files.copy(golden.resolve("model.safetensors"), broken.resolve("model.safetensors"));
        String config = Files.readString(golden.resolve("config.json"));
        Files.writeString(
                broken.resolve("config.json"), config.replace("\"model_type\": \"llama\"", "\"model_type\": \"gpt9\""));
        assertThat(failOn(broken, input)).contains("model_type 'gpt9', supported are", "qwen3");
        Files.writeString(
                broken.resolve("config.json"), config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4"));
        assertThat(failOn(broken, input)).contains("tensor 'model.layers.3", "is missing");
        Files.writeString(
                broken.resolve("config.json"), config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2"));
        assertThat(failOn(broken, input)).contains("tensors belong to no layer", "model.layers.2");
        Files.writeString(
                broken.resolve("config.json"),
                config.replace("\"intermediate_size\": 160", "\"intermediate_size\": 161"));
        assertThat(failOn(broken, input)).contains("has shape [160, 64], expected [161, 64]");
    }

    private String failOn(Path model, Path input) {
        return Jobs.fail(
                "generate",
                "--model",
                model.toString(),
                "--input",
                input.toString(),
                "--output",
                out.toString(),
                "--mode",
                "overwrite");
    }

    /** Rows that begin alike: computed once, the same bits, and said in the usage; the report knows the experts' load. */
    @Test
    void hybridRowsShareTheirBeginning() throws IOException {
        String model = Jobs.ROOT.resolve("conf/demo/stories-hybrid-moe").toString();
        String header = "Once upon a time there was a little girl who lived in a big house. ";
        List<String> rows = new ArrayList<>();
        for (String rest : List.of("She had a dog", "Her name was Lily", "One day she went out", "The house was red")) {
            rows.add(Jobs.row().put("prompt", header + rest).toString());
        }
        Path input = input(rows.toArray(new String[0]));
        Jobs.run(argsOn(model, "generate", input, "--max-tokens", "12", "--logprobs", "1"));
        List<JsonNode> together = List.copyOf(Jobs.results(out).values());
        assertThat(together).hasSize(4);
        assertThat(together.stream()
                        .filter(row -> row.at("/timing/cached_tokens").asInt() > 10))
                .hasSize(3);
        JsonNode report = Jobs.report(out);
        assertThat(report.path("expert_load")).hasSize(6);
        for (JsonNode layer : report.path("expert_load")) {
            long choices = 0;
            for (JsonNode count : layer) {
                choices += count.asLong();
            }
            assertThat(layer).hasSize(8);
            // Two choices for every token computed: each prompt but for what it shares, and all outputs but their last.
            long computed = 0;
            for (JsonNode row : together) {
                computed += row.at("/usage/prompt_tokens").asLong()
                        - row.at("/timing/cached_tokens").asLong()
                        + row.at("/usage/completion_tokens").asLong()
                        - 1;
            }
            assertThat(choices).isEqualTo(2 * computed);
        }
        assertThat(report.at("/state_bytes/per_token").asLong()).isPositive();
        assertThat(report.at("/state_bytes/per_sequence").asLong()).isPositive();
        for (int i = 0; i < rows.size(); i++) {
            Path alone = temp.resolve("alone-" + i);
            Path one = Files.writeString(temp.resolve("one-" + i + ".jsonl"), rows.get(i));
            out = alone;
            Jobs.run(argsOn(model, "generate", one, "--max-tokens", "12", "--logprobs", "1"));
            JsonNode row = Jobs.results(alone).values().iterator().next();
            assertThat(row.at("/timing/cached_tokens").asInt()).isZero();
            assertThat(together.stream().filter(other -> other.path("id").equals(row.path("id"))))
                    .hasSize(1)
                    .allSatisfy(other -> assertThat(other.path("outputs")).isEqualTo(row.path("outputs")));
        }
    }

    /** Whatever a table's values are, every row comes out, as a result or with its reason. */
    @Test
    void hostileValuesAreRows() throws IOException {
        Random random = new Random(5);
        List<Row> rows = new ArrayList<>();
        double[] odd = {Double.NaN, Double.POSITIVE_INFINITY, -1, 0, 1e300, 0.5};
        for (int i = 0; i < 200; i++) {
            byte[] bytes = new byte[random.nextInt(40)];
            random.nextBytes(bytes);
            String text = new String(bytes, java.nio.charset.StandardCharsets.UTF_16);
            Integer[] ids = {random.nextInt(), null, Integer.MIN_VALUE};
            rows.add(RowFactory.create(
                    "r" + i,
                    random.nextInt(9) == 0
                            ? null
                            : random.nextBoolean() ? bytes : text.getBytes(java.nio.charset.StandardCharsets.UTF_8),
                    random.nextInt(5) == 0 ? odd[random.nextInt(odd.length)] : null,
                    random.nextInt(5) == 0 ? random.nextInt() : null,
                    random.nextInt(5) == 0 ? new String[] {text, "", null} : null,
                    random.nextInt(9) == 0 ? ids : null));
        }
        StructType schema =
                StructType.fromDDL("id string, prompt binary, temperature double, max_tokens int, stop array<string>,"
                        + " allowed_token_ids array<int>");
        Path parquet = temp.resolve("hostile.parquet");
        try (SparkSession spark = SparkSession.builder().master("local[1]").getOrCreate()) {
            spark.createDataFrame(rows, schema).write().parquet(parquet.toString());
        }
        run("generate", parquet, "--max-tokens", "3");
        Map<String, JsonNode> results = Jobs.results(out);
        assertThat(results).hasSize(200);
        long failed = results.values().stream()
                .filter(row -> row.path("status").asText().equals("error"))
                .peek(row -> assertThat(row.at("/error/message").asText()).isNotBlank())
                .count();
        assertThat(failed).isBetween(50L, 190L);
    }
}
