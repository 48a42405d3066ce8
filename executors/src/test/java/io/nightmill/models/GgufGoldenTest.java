package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.GgufWriter;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The golden fixtures converted to GGUF as llama.cpp's converter does it, held to the same reference. Left out are those
 * that GGUF cannot express: gemma's exact GELU (llama.cpp approximates it), the query scales of gemma2 and gemma3, and
 * llama_dynamic's rope.
 */
class GgufGoldenTest {
    private static final Pattern LAYER = Pattern.compile("model\\.layers\\.(\\d+)\\.(.*)");
    private static final Pattern EXPERT = Pattern.compile("(.*experts)\\.(\\d+)\\.(\\w+)\\.weight");
    private static final Map<String, String> ARCHITECTURES = Map.ofEntries(
            Map.entry("llama", "llama"),
            Map.entry("mistral", "llama"),
            Map.entry("mixtral", "llama"),
            Map.entry("qwen2", "qwen2"),
            Map.entry("qwen2_moe", "qwen2moe"),
            Map.entry("qwen3", "qwen3"),
            Map.entry("qwen3_moe", "qwen3moe"),
            Map.entry("olmo2", "olmo2"),
            Map.entry("olmoe", "olmoe"),
            Map.entry("deepseek_v2", "deepseek2"),
            Map.entry("deepseek_v3", "deepseek2"),
            Map.entry("gpt_oss", "gpt-oss"));
    private static final Map<String, String> NAMES = Map.ofEntries(
            Map.entry("input_layernorm", "attn_norm"),
            Map.entry("post_attention_layernorm", "ffn_norm"),
            Map.entry("post_feedforward_layernorm", "post_ffw_norm"),
            Map.entry("self_attn.q_proj", "attn_q"),
            Map.entry("self_attn.k_proj", "attn_k"),
            Map.entry("self_attn.v_proj", "attn_v"),
            Map.entry("self_attn.o_proj", "attn_output"),
            Map.entry("self_attn.q_norm", "attn_q_norm"),
            Map.entry("self_attn.k_norm", "attn_k_norm"),
            Map.entry("self_attn.q_a_proj", "attn_q_a"),
            Map.entry("self_attn.q_a_layernorm", "attn_q_a_norm"),
            Map.entry("self_attn.q_b_proj", "attn_q_b"),
            Map.entry("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
            Map.entry("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
            Map.entry("self_attn.kv_b_proj", "attn_kv_b"),
            Map.entry("mlp.gate_proj", "ffn_gate"),
            Map.entry("mlp.up_proj", "ffn_up"),
            Map.entry("mlp.down_proj", "ffn_down"),
            Map.entry("mlp.gate", "ffn_gate_inp"),
            Map.entry("mlp.router", "ffn_gate_inp"),
            Map.entry("block_sparse_moe.gate", "ffn_gate_inp"),
            Map.entry("mlp.shared_expert_gate", "ffn_gate_inp_shexp"),
            Map.entry("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
            Map.entry("mlp.shared_expert.up_proj", "ffn_up_shexp"),
            Map.entry("mlp.shared_expert.down_proj", "ffn_down_shexp"),
            Map.entry("mlp.shared_experts.gate_proj", "ffn_gate_shexp"),
            Map.entry("mlp.shared_experts.up_proj", "ffn_up_shexp"),
            Map.entry("mlp.shared_experts.down_proj", "ffn_down_shexp"));
    private static final Map<String, String> EXPERTS =
            Map.of("gate_proj", "gate", "up_proj", "up", "down_proj", "down", "w1", "gate", "w3", "up", "w2", "down");

    @TempDir
    Path temp;

    private GgufWriter writer;
    private ConfigNode config;
    private String architecture;
    private Map<String, float[]> values;
    private Map<String, long[]> shapes;

    @ParameterizedTest
    @ValueSource(
            strings = {
                "llama",
                "llama_tied",
                "llama_yarn",
                "llama_linear",
                "mistral",
                "mixtral",
                "qwen2",
                "qwen2_moe",
                "qwen3",
                "qwen3_moe",
                "olmo2",
                "olmoe",
                "deepseek_v2",
                "deepseek_v2_lite",
                "deepseek_v3",
                "gpt_oss_mxfp4"
            })
    void convertedFixtureMatchesReferenceImplementation(String fixture) throws IOException {
        Path folder = Golden.root().resolve(fixture);
        convert(folder);
        Path file = temp.resolve(fixture + ".gguf");
        writer.write(file);
        GoldenTest.check(folder, file);
    }

    private void convert(Path folder) {
        writer = new GgufWriter();
        config = ConfigNode.read(folder.resolve("config.json"));
        architecture = ARCHITECTURES.get(config.requireText("model_type"));
        assertThat(architecture).isNotNull();
        values = GgufWriter.values(folder);
        shapes = GgufWriter.shapes(folder);
        metadata();
        for (String name : values.keySet()) {
            tensor(name);
        }
        if (architecture.equals("gpt-oss")) {
            microscaledExperts(folder);
        }
    }

    private void put(String key, long value) {
        writer.put(architecture + "." + key, value);
    }

    private void copy(String key, String from) {
        if (config.has(from)) {
            put(key, config.requireInt(from));
        }
    }

    private void copyReal(String key, String from) {
        if (config.has(from)) {
            writer.put(architecture + "." + key, config.requireDouble(from));
        }
    }

    private void metadata() {
        int heads = config.requireInt("num_attention_heads");
        int headDim = config.intOr("head_dim", config.requireInt("hidden_size") / heads);
        writer.put("general.architecture", architecture);
        copy("block_count", "num_hidden_layers");
        copy("embedding_length", "hidden_size");
        copy("attention.head_count", "num_attention_heads");
        copy("attention.head_count_kv", "num_key_value_heads");
        copy("feed_forward_length", "intermediate_size");
        copy("context_length", "max_position_embeddings");
        copyReal("attention.layer_norm_rms_epsilon", "rms_norm_eps");
        copyReal("rope.freq_base", "rope_theta");
        copy("attention.sliding_window", "sliding_window");
        copy("expert_count", "num_local_experts");
        copy("expert_count", "num_experts");
        copy("expert_count", "n_routed_experts");
        copy("expert_used_count", "num_experts_per_tok");
        copy("expert_feed_forward_length", "moe_intermediate_size");
        copy("expert_shared_feed_forward_length", "shared_expert_intermediate_size");
        copy("expert_shared_count", "n_shared_experts");
        copy("leading_dense_block_count", "first_k_dense_replace");
        copy("expert_group_count", "n_group");
        copy("expert_group_used_count", "topk_group");
        copyReal("expert_weights_scale", "routed_scaling_factor");
        if (config.has("norm_topk_prob")) {
            writer.put(architecture + ".expert_weights_norm", config.booleanOr("norm_topk_prob", false));
        }
        if (architecture.equals("gpt-oss")) {
            copy("expert_feed_forward_length", "intermediate_size");
        }
        if (architecture.equals("deepseek2")) {
            int rotary = config.requireInt("qk_rope_head_dim");
            copy("attention.q_lora_rank", "q_lora_rank");
            copy("attention.kv_lora_rank", "kv_lora_rank");
            put("attention.key_length", rotary + config.requireInt("qk_nope_head_dim"));
            copy("attention.value_length", "v_head_dim");
            put("rope.dimension_count", rotary);
        } else {
            put("attention.key_length", headDim);
            put("rope.dimension_count", headDim);
        }
        rope(headDim);
    }

    private void rope(int headDim) {
        ConfigNode scaling = config.at("rope_scaling");
        String type = scaling.textOr("rope_type", scaling.textOr("type", "none"));
        if (type.equals("llama3")) {
            writer.tensor("rope_freqs.weight", llama3Factors(scaling, headDim), headDim / 2);
        } else if (!type.equals("none")) {
            writer.put(architecture + ".rope.scaling.type", type);
            writer.put(architecture + ".rope.scaling.factor", scaling.requireDouble("factor"));
            if (scaling.has("original_max_position_embeddings")) {
                put("rope.scaling.original_context_length", scaling.requireInt("original_max_position_embeddings"));
            }
            if (scaling.has("mscale_all_dim")) {
                writer.put(
                        architecture + ".rope.scaling.yarn_log_multiplier",
                        0.1 * scaling.requireDouble("mscale_all_dim"));
            }
        }
    }

    /** As convert_hf_to_gguf.py generates them. */
    private float[] llama3Factors(ConfigNode scaling, int headDim) {
        double factor = scaling.requireDouble("factor");
        double low = scaling.requireDouble("low_freq_factor");
        double high = scaling.requireDouble("high_freq_factor");
        double original = scaling.requireDouble("original_max_position_embeddings");
        float[] factors = new float[headDim / 2];
        for (int i = 0; i < factors.length; i++) {
            double wavelength = 2 * Math.PI * Math.pow(config.requireDouble("rope_theta"), 2.0 * i / headDim);
            double smooth = (original / wavelength - low) / (high - low);
            factors[i] = (float)
                    (wavelength < original / high
                            ? 1
                            : wavelength > original / low ? factor : 1 / ((1 - smooth) / factor + smooth));
        }
        return factors;
    }

    private void tensor(String name) {
        float[] data = values.get(name);
        long[] shape = shapes.get(name);
        Matcher layer = LAYER.matcher(name);
        if (!layer.matches()) {
            String outer = Map.of(
                            "model.embed_tokens.weight", "token_embd.weight",
                            "model.norm.weight", "output_norm.weight",
                            "lm_head.weight", "output.weight")
                    .get(name);
            writer.tensor(outer, data, shape);
            return;
        }
        String block = "blk." + layer.group(1) + ".";
        String inner = layer.group(2);
        Matcher expert = EXPERT.matcher(inner);
        if (expert.matches()) {
            if (expert.group(2).equals("0")) {
                stack(name, block + "ffn_" + EXPERTS.get(expert.group(3)) + "_exps.weight", shape);
            }
        } else if (inner.equals("mlp.gate.e_score_correction_bias")) {
            writer.tensor(block + "exp_probs_b.bias", data, shape);
        } else if (inner.equals("self_attn.sinks")) {
            writer.tensor(block + "attn_sinks.weight", data, shape);
        } else if (inner.startsWith("mlp.experts.")) {
            // gpt-oss: the biases, of which gate and up alternate.
            if (inner.endsWith("down_proj_bias")) {
                writer.tensor(block + "ffn_down_exps.bias", data, shape);
            } else {
                writer.tensor(block + "ffn_gate_exps.bias", every(data, 2, 0), shape[0], shape[1] / 2);
                writer.tensor(block + "ffn_up_exps.bias", every(data, 2, 1), shape[0], shape[1] / 2);
            }
        } else {
            int dot = inner.lastIndexOf('.');
            String mine = NAMES.get(inner.substring(0, dot));
            boolean afterwards = architecture.equals("olmo2") || architecture.equals("gpt-oss");
            if (mine.equals("ffn_norm") && afterwards) {
                mine = "post_attention_norm";
            }
            if (architecture.equals("llama") && (mine.equals("attn_q") || mine.equals("attn_k"))) {
                data = permute(data, mine.equals("attn_q") ? "num_attention_heads" : "num_key_value_heads", shape);
            }
            long[] kept = mine.equals("ffn_gate_inp_shexp") ? new long[] {shape[1]} : shape;
            writer.tensor(block + mine + inner.substring(dot), data, kept);
        }
    }

    private static float[] every(float[] data, int step, int from) {
        float[] some = new float[data.length / step];
        for (int i = 0; i < some.length; i++) {
            some[i] = data[i * step + from];
        }
        return some;
    }

    private void stack(String first, String name, long[] shape) {
        int count = 0;
        while (values.containsKey(first.replace("experts.0.", "experts." + count + "."))) {
            count++;
        }
        float[] all = new float[(int) (count * shape[0] * shape[1])];
        for (int e = 0; e < count; e++) {
            float[] one = values.get(first.replace("experts.0.", "experts." + e + "."));
            System.arraycopy(one, 0, all, e * one.length, one.length);
        }
        writer.tensor(name, all, count, shape[0], shape[1]);
    }

    /** Halves of each head become neighbours. */
    private float[] permute(float[] data, String heads, long[] shape) {
        int count = config.requireInt(heads);
        int in = (int) shape[1];
        int half = (int) shape[0] / count / 2;
        float[] out = new float[data.length];
        for (int h = 0; h < count; h++) {
            for (int part = 0; part < 2; part++) {
                for (int i = 0; i < half; i++) {
                    int from = (h * 2 + part) * half + i;
                    int to = h * 2 * half + 2 * i + part;
                    System.arraycopy(data, from * in, out, to * in, in);
                }
            }
        }
        return out;
    }

    /** MXFP4 blocks in GGUF's order: scale first, then the values i and i + 16 in a byte; gate and up apart. */
    private void microscaledExperts(Path folder) {
        for (int i = 0; i < config.requireInt("num_hidden_layers"); i++) {
            String from = "model.layers." + i + ".mlp.experts.";
            repack(folder, from + "gate_up_proj", "blk." + i + ".ffn_gate_exps.weight", 2, 0);
            repack(folder, from + "gate_up_proj", "blk." + i + ".ffn_up_exps.weight", 2, 1);
            repack(folder, from + "down_proj", "blk." + i + ".ffn_down_exps.weight", 1, 0);
        }
    }

    private void repack(Path folder, String from, String to, int step, int first) {
        byte[] blocks = GgufWriter.bytes(folder, from + "_blocks");
        byte[] scales = GgufWriter.bytes(folder, from + "_scales");
        long[] shape = shapes.get(from + "_scales");
        int experts = (int) shape[0];
        int rows = (int) shape[1] / step;
        int perRow = (int) shape[2];
        byte[] out = new byte[experts * rows * perRow * 17];
        int at = 0;
        for (int e = 0; e < experts; e++) {
            for (int row = 0; row < rows; row++) {
                for (int b = 0; b < perRow; b++) {
                    int block = ((e * rows + row) * step + first) * perRow + b;
                    if (step == 2) {
                        block = (e * rows * 2 + row * 2 + first) * perRow + b;
                    }
                    out[at++] = scales[block];
                    for (int j = 0; j < 16; j++) {
                        int low = blocks[block * 16 + j / 2] >> 4 * (j % 2) & 15;
                        int high = blocks[block * 16 + 8 + j / 2] >> 4 * (j % 2) & 15;
                        out[at++] = (byte) (low | high << 4);
                    }
                }
            }
        }
        writer.tensor(to, 39, out, experts, rows, perRow * 32L);
    }
}
