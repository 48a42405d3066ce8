package io.nightmill.jobs;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * A model of random bfloat16 weights in a real shape, for benchmarks: Qwen 3's layout, dense or with experts.
 *
 * @param experts 0 is dense
 */
record SyntheticModel(
        String name,
        int layers,
        int hidden,
        int heads,
        int kvHeads,
        int headDim,
        int inner,
        int experts,
        int topK,
        int vocabulary) {
    static final SyntheticModel DENSE = new SyntheticModel("dense-0.5B", 28, 1024, 16, 8, 128, 3072, 0, 0, 32000);
    static final SyntheticModel MOE = new SyntheticModel("moe-1B", 10, 1024, 16, 8, 64, 512, 64, 8, 32000);

    /** Values that one token meets. */
    long activeParameters() {
        long attention = (long) hidden * headDim * (2 * heads + 2 * kvHeads);
        long feedForward = 3L * hidden * inner * (experts == 0 ? 1 : topK) + (long) hidden * experts;
        return layers * (attention + feedForward) + (long) hidden * vocabulary;
    }

    /** Writes the model unless it is there. */
    Path write(Path parent) throws IOException {
        Path folder = parent.resolve(name);
        Path weights = folder.resolve("model.safetensors");
        if (Files.exists(weights)) {
            return folder;
        }
        Files.createDirectories(folder);
        Files.writeString(folder.resolve("config.json"), config().toString());
        Path partial = folder.resolve("model.partial");
        writeTensors(partial);
        Files.move(partial, weights);
        return folder;
    }

    private ObjectNode config() {
        ObjectNode config = new ObjectMapper().createObjectNode();
        config.put("model_type", experts == 0 ? "qwen3" : "qwen3_moe").put("num_hidden_layers", layers);
        config.put("hidden_size", hidden).put("num_attention_heads", heads).put("num_key_value_heads", kvHeads);
        config.put("head_dim", headDim).put("intermediate_size", inner).put("vocab_size", vocabulary);
        config.put("rms_norm_eps", 1e-6).put("rope_theta", 1e6).put("max_position_embeddings", 32768);
        config.put("tie_word_embeddings", true).put("hidden_act", "silu");
        if (experts > 0) {
            config.put("num_experts", experts).put("num_experts_per_tok", topK).put("moe_intermediate_size", inner);
            config.put("norm_topk_prob", true);
        }
        return config;
    }

    private Map<String, int[]> shapes() {
        Map<String, int[]> shapes = new LinkedHashMap<>();
        shapes.put("model.embed_tokens.weight", new int[] {vocabulary, hidden});
        shapes.put("model.norm.weight", new int[] {hidden});
        for (int i = 0; i < layers; i++) {
            String layer = "model.layers." + i + ".";
            shapes.put(layer + "input_layernorm.weight", new int[] {hidden});
            shapes.put(layer + "post_attention_layernorm.weight", new int[] {hidden});
            shapes.put(layer + "self_attn.q_norm.weight", new int[] {headDim});
            shapes.put(layer + "self_attn.k_norm.weight", new int[] {headDim});
            shapes.put(layer + "self_attn.q_proj.weight", new int[] {heads * headDim, hidden});
            shapes.put(layer + "self_attn.k_proj.weight", new int[] {kvHeads * headDim, hidden});
            shapes.put(layer + "self_attn.v_proj.weight", new int[] {kvHeads * headDim, hidden});
            shapes.put(layer + "self_attn.o_proj.weight", new int[] {hidden, heads * headDim});
            if (experts > 0) {
                shapes.put(layer + "mlp.gate.weight", new int[] {experts, hidden});
            }
            for (int e = 0; e < Math.max(1, experts); e++) {
                String mlp = experts == 0 ? layer + "mlp." : layer + "mlp.experts." + e + ".";
                shapes.put(mlp + "gate_proj.weight", new int[] {inner, hidden});
                shapes.put(mlp + "up_proj.weight", new int[] {inner, hidden});
                shapes.put(mlp + "down_proj.weight", new int[] {hidden, inner});
            }
        }
        return shapes;
    }

    private void writeTensors(Path file) throws IOException {
        ObjectNode header = new ObjectMapper().createObjectNode();
        long offset = 0;
        for (Map.Entry<String, int[]> entry : shapes().entrySet()) {
            long bytes = 2;
            ObjectNode tensor = header.putObject(entry.getKey()).put("dtype", "BF16");
            for (int extent : entry.getValue()) {
                bytes *= extent;
                tensor.withArray("shape").add(extent);
            }
            tensor.putArray("data_offsets").add(offset).add(offset + bytes);
            offset += bytes;
        }
        byte[] text = header.toString().getBytes(StandardCharsets.UTF_8);
        SplittableRandom random = new SplittableRandom(1);
        try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
            out.write(ByteBuffer.allocate(8)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(text.length)
                    .array());
            out.write(text);
            for (Map.Entry<String, int[]> entry : shapes().entrySet()) {
                int[] shape = entry.getValue();
                int values = shape.length == 1 ? shape[0] : shape[0] * shape[1];
                ByteBuffer data = ByteBuffer.allocate(2 * values).order(ByteOrder.LITTLE_ENDIAN);
                float scale = shape.length == 1 ? 0 : (float) (1.7 / Math.sqrt(shape[1]));
                for (int i = 0; i < values; i++) {
                    float value = shape.length == 1 ? 1 : scale * (float) (2 * random.nextDouble() - 1);
                    data.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
                }
                out.write(data.array());
            }
        }
    }
}
