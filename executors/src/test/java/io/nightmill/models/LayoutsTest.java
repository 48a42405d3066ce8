package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.engine.Completion;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.kernels.HostBackend;
import io.nightmill.tensor.KvType;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.GgufWriter;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The same weights in the other forms that checkpoints come in. */
class LayoutsTest {
    @TempDir
    Path temp;

    static Stream<Path> folders() {
        // The file beside golden/llama is that of another family.
        return Golden.folders()
                .filter(folder -> Files.exists(folder.resolve("config.transformers5.json")))
                .filter(folder -> Golden.modelType(folder.resolve("config.transformers5.json"))
                        .equals(Golden.modelType(folder.resolve("config.json"))));
    }

    /** Transformers 5 writes other keys than published checkpoints have. */
    @ParameterizedTest
    @MethodSource("folders")
    void configurationOfTransformers5(Path folder) throws IOException {
        Files.copy(folder.resolve("config.transformers5.json"), temp.resolve("config.json"));
        Golden.linkWeights(folder, temp);
        GoldenTest.check(folder, temp);
    }

    private record Raw(String type, int[] shape, byte[] data) {}

    private static void write(Path file, Map<String, Raw> tensors) throws IOException {
        ObjectNode header = new ObjectMapper().createObjectNode();
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        tensors.forEach((name, raw) -> {
            ObjectNode entry = header.putObject(name).put("dtype", raw.type);
            for (int extent : raw.shape) {
                entry.withArray("shape").add(extent);
            }
            entry.withArray("shape");
            entry.putArray("data_offsets").add(data.size()).add(data.size() + raw.data.length);
            data.writeBytes(raw.data);
        });
        byte[] text = header.toString().getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + text.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
        Files.write(
                file,
                bytes.putLong(text.length).put(text).put(data.toByteArray()).array());
    }

    private static Raw f32(float[] values, int... shape) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return new Raw("F32", shape, bytes.array());
    }

    private static Map<String, Raw> llama() {
        Path folder = Golden.root().resolve("llama");
        Map<String, long[]> shapes = GgufWriter.shapes(folder);
        Map<String, Raw> tensors = new LinkedHashMap<>();
        GgufWriter.values(folder).forEach((name, values) -> {
            int[] shape = java.util.Arrays.stream(shapes.get(name))
                    .mapToInt(Math::toIntExact)
                    .toArray();
            tensors.put(name, f32(values, shape));
        });
        return tensors;
    }

    private static String scores(Path model) {
        HostBackend backend = new HostBackend(1);
        Model loaded = ModelLoader.load(model, backend);
        StringBuilder text = new StringBuilder();
        try (ContinuousEngine engine =
                new ContinuousEngine(backend, loaded.decoder(), null, Set.of(), 512, new Limits(1 << 24, 4, 64))) {
            int[] prompt = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
            engine.submit(new Request("a", prompt, new Request.Ask.Score(List.of(), 0)));
            for (Completion completion : engine.step()) {
                for (int i = 0; i < completion.prompt().size(); i++) {
                    text.append(completion.prompt().logprob(i)).append(' ');
                }
            }
        }
        return text.toString();
    }

    private Path folder(String name) throws IOException {
        Path folder = Files.createDirectories(temp.resolve(name));
        Files.copy(Golden.root().resolve("llama/config.json"), folder.resolve("config.json"));
        return folder;
    }

    @Test
    void shardsWithAnIndex() throws IOException {
        Path whole = folder("whole");
        write(whole.resolve("model.safetensors"), llama());
        Path sharded = folder("sharded");
        ObjectNode index = new ObjectMapper().createObjectNode();
        List<Map<String, Raw>> shards = List.of(new LinkedHashMap<>(), new LinkedHashMap<>());
        int[] next = {0};
        llama().forEach((name, raw) -> {
            int shard = next[0]++ % 2;
            shards.get(shard).put(name, raw);
            index.withObject("/weight_map").put(name, "model-0000" + (shard + 1) + "-of-00002.safetensors");
        });
        Files.writeString(sharded.resolve("model.safetensors.index.json"), index.toString());
        write(sharded.resolve("model-00001-of-00002.safetensors"), shards.get(0));
        assertThatThrownBy(() -> ModelLoader.check(sharded, KvType.F32))
                .hasMessageContaining("model-00002-of-00002.safetensors");
        write(sharded.resolve("model-00002-of-00002.safetensors"), shards.get(1));
        assertThat(scores(sharded)).isEqualTo(scores(whole));
    }

    @Test
    void fp8WithBlockScales() throws IOException {
        Map<String, Raw> fp8 = llama();
        Map<String, Raw> widened = llama();
        int[] block = {16, 32};
        for (String name : new ArrayList<>(fp8.keySet())) {
            if (name.endsWith("_proj.weight")) {
                quantize(name, fp8, widened, block);
            }
        }
        Path eight = folder("fp8");
        ObjectNode config =
                (ObjectNode) ConfigNode.read(eight.resolve("config.json")).json();
        config.putObject("quantization_config")
                .put("quant_method", "fp8")
                .putArray("weight_block_size")
                .add(16)
                .add(32);
        Files.writeString(eight.resolve("config.json"), config.toString());
        write(eight.resolve("model.safetensors"), fp8);
        Path wide = folder("widened");
        write(wide.resolve("model.safetensors"), widened);
        assertThat(scores(eight)).isEqualTo(scores(wide));
    }

    private static void quantize(String name, Map<String, Raw> fp8, Map<String, Raw> widened, int[] block) {
        int out = fp8.get(name).shape[0];
        int in = fp8.get(name).shape[1];
        int across = (in + block[1] - 1) / block[1];
        float[] scales = new float[(out + block[0] - 1) / block[0] * across];
        for (int i = 0; i < scales.length; i++) {
            scales[i] = 0.01f + 0.003f * i;
        }
        byte[] codes = new byte[out * in];
        float[] values = new float[out * in];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = (byte) ((i * 37 + i / in * 11) % 120 | (i % 3 == 0 ? 0x80 : 0));
            int exponent = codes[i] >> 3 & 15;
            int mantissa = codes[i] & 7;
            double magnitude = exponent == 0 ? mantissa / 512.0 : (1 + mantissa / 8.0) * Math.pow(2, exponent - 7);
            float code = (float) (codes[i] < 0 ? -magnitude : magnitude);
            values[i] = code * scales[i / in / block[0] * across + i % in / block[1]];
        }
        fp8.put(name, new Raw("F8_E4M3", new int[] {out, in}, codes));
        fp8.put(name + "_scale_inv", f32(scales, scales.length / across, across));
        widened.put(name, f32(values, out, in));
    }

    @Test
    void splitGguf() throws IOException {
        Path real = Golden.root().resolveSibling("real/stories260K.gguf");
        assertThatThrownBy(() -> ModelLoader.check(Files.copy(real, temp.resolve("m-00001-of-00002.gguf")), KvType.F32))
                .hasMessageContaining("m-00002-of-00002.gguf is missing");
        new GgufWriter().put("split.no", 1L).write(temp.resolve("m-00002-of-00002.gguf"));
        ModelLoader.check(temp.resolve("m-00001-of-00002.gguf"), KvType.F32);
    }
}
