package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import io.nightmill.text.Detokenizer;
import io.nightmill.text.HuggingFaceTokenizer;
import io.nightmill.text.PreTokenizers;
import io.nightmill.text.RwkvTokenizer;
import io.nightmill.text.SentencePieceModel;
import io.nightmill.text.Tokenizer;
import io.nightmill.text.TokenizerJson;
import io.nightmill.text.Vocabulary;
import io.nightmill.text.Vocabulary.Kind;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Gguf;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every published tokenizer vector whose vocabulary is at hand. */
class TokenizerVectorsTest {
    private static final Path ROOT =
            Path.of(System.getProperty("nightmill.shared", "../../shared")).resolve("tokenizers");

    static Stream<Path> ggufs() throws IOException {
        try (Stream<Path> list = Files.list(ROOT.resolve("llama.cpp"))) {
            return list
                    .filter(path -> path.toString().endsWith(".gguf") && Files.exists(inputs(path)))
                    .sorted()
                    .toList()
                    .stream();
        }
    }

    private static Path inputs(Path gguf) {
        return gguf.resolveSibling(gguf.getFileName() + ".inp");
    }

    @ParameterizedTest
    @MethodSource("ggufs")
    void ggufVocabularyMatchesLlamaCpp(Path gguf) throws IOException {
        assertLlamaCppVectors(
                GgufModel.tokenizer(Gguf.open(gguf)),
                inputs(gguf),
                gguf.toString().contains("bert"));
    }

    private static void assertLlamaCppVectors(Tokenizer tokenizer, Path inputs, boolean lossy) throws IOException {
        String[] texts = Files.readString(inputs).split("\n__ggml_vocab_test__\n", -1);
        List<String> expected = Files.readAllLines(
                inputs.resolveSibling(inputs.getFileName().toString().replace(".inp", ".out")));
        int last = texts.length - 1;
        assertThat(expected).hasSizeGreaterThanOrEqualTo(last);
        for (int i = 0; i < last; i++) {
            int[] ids = Arrays.stream(expected.get(i).trim().split(" "))
                    .filter(id -> !id.isEmpty())
                    .mapToInt(Integer::parseInt)
                    .toArray();
            assertThat(tokenizer.encode(texts[i], false)).as("'%s'", texts[i]).containsExactly(ids);
            if (!lossy) {
                assertThat(tokenizer.decode(ids, false)).isEqualTo(texts[i]);
            }
        }
    }

    @Test
    void qwen2VocabularyAndMergesMatchBothReferences() throws IOException {
        JsonNode vocab = ConfigNode.read(ROOT.resolve("qwen2/vocab.json")).json();
        String[] pieces = new String[vocab.size() + 3];
        vocab.fields().forEachRemaining(entry -> pieces[entry.getValue().asInt()] = entry.getKey());
        Kind[] kinds = new Kind[pieces.length];
        Arrays.fill(kinds, Kind.NORMAL);
        List<String> special = List.of("<|endoftext|>", "<|im_start|>", "<|im_end|>");
        for (int i = 0; i < 3; i++) {
            pieces[vocab.size() + i] = special.get(i);
            kinds[vocab.size() + i] = Kind.CONTROL;
        }
        List<String> merges = new ArrayList<>(Files.readAllLines(ROOT.resolve("qwen2/merges.txt")));
        merges.removeIf(line -> line.startsWith("#version") || line.isEmpty());
        Vocabulary vocabulary = new Vocabulary(List.of(pieces), new float[0], kinds, merges, -1, -1, -1);
        byte[] json = TokenizerJson.byteLevel(vocabulary, PreTokenizers.patterns("qwen2"), false, true);
        Tokenizer tokenizer = new HuggingFaceTokenizer(json, pieces.length);
        assertJsonVectors(tokenizer, ROOT.resolve("qwen2/tokenizer.vectors.json"));
        assertLlamaCppVectors(tokenizer, ROOT.resolve("llama.cpp/ggml-vocab-qwen2.gguf.inp"), true);
    }

    @Test
    void tokenizerJsonMatchesItsLibrary() throws IOException {
        Tokenizer tokenizer =
                new HuggingFaceTokenizer(Files.readAllBytes(ROOT.resolve("neox20b/tokenizer.json")), 50277);
        assertJsonVectors(tokenizer, ROOT.resolve("neox20b/tokenizer.vectors.json"));
    }

    @Test
    void rwkvVocabularyMatchesItsAuthors() throws IOException {
        Tokenizer tokenizer =
                new RwkvTokenizer(Files.readAllLines(ROOT.resolve("rwkv/rwkv_vocab_v20230424.txt")), 65536);
        JsonNode vectors = ConfigNode.read(ROOT.resolve("rwkv/rwkv_world.vectors.json"))
                .json()
                .path("vectors");
        assertThat(vectors).isNotEmpty();
        for (JsonNode vector : vectors) {
            int[] ids = Golden.ints(vector.path("ids"));
            assertThat(tokenizer.encode(vector.path("text").asText(), false)).containsExactly(ids);
            assertThat(tokenizer.decode(ids, false))
                    .isEqualTo(vector.path("text").asText());
        }
    }

    @Test
    void realModelReadsItsPromptsAndWritesItsStories() {
        Path folder = ROOT.resolveSibling("real/stories260K-hf");
        Tokenizer tokenizer = ModelLoader.loadText(folder).tokenizer();
        for (JsonNode story :
                ConfigNode.read(folder.resolve("golden.json")).json().path("cases")) {
            int[] ids = Golden.ints(story.path("input_ids"));
            String text = story.path("text").asText();
            if (text.length() < 100) {
                // The longer ones were cut to a number of tokens.
                assertThat(tokenizer.encode(text, true)).containsExactly(ids);
            }
            int[] greedy = Golden.ints(story.path("greedy"));
            assertThat(Detokenizer.text(tokenizer, true, ids, greedy).strip())
                    .isEqualTo(story.path("greedy_text").asText().strip());
        }
    }

    static Stream<Path> sentencePieceModels() throws IOException {
        try (Stream<Path> list = Files.list(ROOT.resolve("sentencepiece"))) {
            return list.filter(path -> path.toString().endsWith(".model")).sorted().toList().stream();
        }
    }

    @ParameterizedTest
    @MethodSource("sentencePieceModels")
    void sentencePieceModelMatchesGoogles(Path model) throws IOException {
        Tokenizer tokenizer =
                new HuggingFaceTokenizer(SentencePieceModel.toTokenizerJson(Files.readAllBytes(model), false), 1 << 20);
        assertJsonVectors(tokenizer, Path.of(model.toString().replace(".model", ".vectors.json")));
    }

    private static void assertJsonVectors(Tokenizer tokenizer, Path vectors) {
        boolean sentencePiece = vectors.toString().contains("sentencepiece");
        JsonNode list = ConfigNode.read(vectors).json().path("vectors");
        assertThat(list).isNotEmpty();
        List<String> wrong = new ArrayList<>();
        for (JsonNode vector : list) {
            int[] ids = Golden.ints(vector.path("ids"));
            String text = vector.path("text").asText();
            if (sentencePiece && text.contains("<s>")) {
                // Google's library takes it for three characters; Hugging Face's, like ours, for the token.
                continue;
            }
            int[] found = tokenizer.encode(text, false);
            if (!Arrays.equals(found, ids)) {
                wrong.add("'%s': expected %s, got %s".formatted(text, Arrays.toString(ids), Arrays.toString(found)));
            }
            String decoded = tokenizer.decode(ids, false);
            // An unknown character is lost: Google's library shows it as U+2047, Hugging Face's as <unk>.
            if (!vector.path("decoded").asText().contains("\u2047")
                    && !decoded.equals(vector.path("decoded").asText())) {
                wrong.add("%s: expected '%s', got '%s'"
                        .formatted(Arrays.toString(ids), vector.path("decoded").asText(), decoded));
            }
        }
        assertThat(wrong).isEmpty();
    }

    @Test
    void beginAndEndTokensAreTheConfigurationsWhereItsClassSaysSo(@TempDir Path folder) throws IOException {
        Files.copy(ROOT.resolve("neox20b/tokenizer.json"), folder.resolve("tokenizer.json"));
        Files.writeString(folder.resolve("config.json"), "{\"vocab_size\":50432,\"max_position_embeddings\":64}");
        Path config = folder.resolve("tokenizer_config.json");
        String token = "\"bos_token\":{\"content\":\"<|endoftext|>\"},\"eos_token\":\"<|padding|>\"";
        Map<String, int[]> expected = Map.of(
                "\"tokenizer_class\":\"LlamaTokenizerFast\",\"add_bos_token\":true", new int[] {0, 12092},
                "\"tokenizer_class\":\"LlamaTokenizerFast\",\"add_bos_token\":true,\"add_eos_token\":true",
                        new int[] {0, 12092, 1},
                "\"tokenizer_class\":\"LlamaTokenizerFast\",\"add_bos_token\":false", new int[] {12092},
                "\"tokenizer_class\":\"LlamaTokenizerFast\"", new int[] {12092},
                "\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"add_bos_token\":true", new int[] {12092});
        for (Map.Entry<String, int[]> one : expected.entrySet()) {
            Files.writeString(config, "{%s,%s}".formatted(token, one.getKey()));
            Tokenizer tokenizer =
                    Objects.requireNonNull(ModelLoader.loadText(folder).tokenizer());
            assertThat(tokenizer.encode("Hello", true)).as(one.getKey()).isEqualTo(one.getValue());
            assertThat(tokenizer.encode("Hello", false)).containsExactly(12092);
        }
        Files.writeString(
                config, "{\"tokenizer_class\":\"LlamaTokenizer\",\"add_bos_token\":true,\"bos_token\":\"<none>\"}");
        assertThatThrownBy(() -> ModelLoader.loadText(folder))
                .hasMessageContaining("Cannot use the token '<none>' of tokenizer_config.json");
    }
}
