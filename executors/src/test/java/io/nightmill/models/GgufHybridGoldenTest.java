package io.nightmill.models;

import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.GgufWriter;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The recurrent and hybrid golden models, converted to GGUF as llama.cpp's convert_hf_to_gguf.py would, must still match
 * their references. PLaMo-2 has no golden folder, and llama.cpp has no name for MiniMax-Text-01.
 */
class GgufHybridGoldenTest {
    private static final Pattern EXPERT = Pattern.compile("(.*experts)\\.(\\d+)\\.(\\w+)\\.weight");

    /** From expressions over the names in the folder, below {@code layers.N.}, to names in the file. */
    private static final String MAMBA =
            """
            (?:mamba|mixer|linear_attn)\\.A_log=ssm_a
            (?:mamba|mixer)\\.D=ssm_d
            (?:mamba|mixer|linear_attn)\\.dt_bias=ssm_dt.bias
            (?:mamba|mixer|linear_attn)\\.in_proj\\.=ssm_in.
            (?:mamba|mixer|linear_attn)\\.conv1d\\.=ssm_conv1d.
            (?:mamba|mixer)\\.x_proj\\.=ssm_x.
            (?:mamba|mixer)\\.dt_proj\\.=ssm_dt.
            (?:mamba|mixer|linear_attn)\\.norm\\.=ssm_norm.
            (?:mamba|mixer|linear_attn)\\.out_proj\\.=ssm_out.
            mamba\\.dt_layernorm\\.=ssm_dt_norm.
            mamba\\.b_layernorm\\.=ssm_b_norm.
            mamba\\.c_layernorm\\.=ssm_c_norm.
            linear_attn\\.in_proj_ba\\.=ssm_ba.
            linear_attn\\.in_proj_qkv\\.=attn_qkv.
            linear_attn\\.in_proj_z\\.=attn_gate.
            """;

    private static final String ATTENTION =
            """
            self_attn\\.kv_a_proj_with_mqa\\.=attn_kv_a_mqa.
            self_attn\\.kv_a_layernorm\\.=attn_kv_a_norm.
            self_attn\\.kv_b_proj\\.=attn_kv_b.
            self_attn\\.([qkv])_conv1d\\.=ssm_conv1d_$1.
            self_attn\\.([fg]_[ab])_proj\\.=ssm_$1.
            self_attn\\.b_proj\\.=ssm_beta.
            self_attn\\.A_log=ssm_a
            self_attn\\.dt_bias=ssm_dt.bias
            self_attn\\.o_norm\\.=ssm_norm.
            (?:self_attn|mixer)\\.([qkv])_proj\\.=attn_$1.
            self_attn\\.out_proj\\.=attn_output.
            (?:self_attn|mixer)\\.o_proj\\.=attn_output.
            self_attn\\.([qk])_(?:layer)?norm\\.=attn_$1_norm.
            """;

    private static final String REST =
            """
            conv\\.(\\w+)\\.=shortconv.$1.
            (?:input_layernorm|operator_norm|norm)\\.=attn_norm.
            (?:feed_forward|block_sparse_moe|mlp|mixer|block_sparse_moe\\.router)\\.(?:gate|router|layer)\\.weight=ffn_gate_inp.weight
            .*(?:expert_bias|e_score_correction_bias)=exp_probs_b.bias
            mlp\\.shared_expert_gate\\.=ffn_gate_inp_shexp.
            .*shared_experts?\\.(gate|up|down)_proj\\.=ffn_$1_shexp.
            shared_mlp\\.(gate|up|down)_proj\\.=ffn_$1_shexp.
            .*\\.(gate|up|down)_proj\\.=ffn_$1.
            feed_forward\\.w1\\.=ffn_gate.
            feed_forward\\.w2\\.=ffn_down.
            feed_forward\\.w3\\.=ffn_up.
            """;

    private static final String RWKV =
            """
            ln0\\.=!token_embd_norm.
            ln1\\.=attn_norm.
            ln2\\.=attn_norm_2.
            att\\.ln_x\\.=time_mix_ln.
            att\\.time_faaaa=time_mix_first.weight
            att\\.time_decay(\\w*)=time_mix_decay$1.weight
            att\\.time_maa_(w[12])=time_mix_$1.weight
            att\\.time_maa_([xwkvrg])=time_mix_lerp_$1.weight
            att\\.(?:lerp_fused)=time_mix_lerp_fused.weight
            att\\.([wavg][012]|k_k|k_a|r_k)=time_mix_$1.weight
            att\\.(\\w+)\\.weight=time_mix_$1.weight
            ffn\\.(?:time_maa|x)_([kr])=channel_mix_lerp_$1.weight
            ffn\\.(\\w+)\\.weight=channel_mix_$1.weight
            """;

    @TempDir
    Path temp;

    private record Values(float[] data, long... shape) {}

    private final Map<String, Values> tensors = new TreeMap<>();
    private final GgufWriter writer = new GgufWriter();
    private ConfigNode config;
    private String architecture;

    @ParameterizedTest
    @ValueSource(
            strings = {
                "mamba",
                "falcon_mamba",
                "mamba2",
                "jamba",
                "granitemoehybrid",
                "falcon_h1",
                "falcon_h1_nonorm",
                "nemotron_h",
                "nemotron_h_moe",
                "qwen3_next",
                "lfm2",
                "lfm2_moe",
                "kimi_linear",
                "kimi_linear_bias",
                "rwkv6",
                "rwkv7"
            })
    void convertedFixtureMatchesReferenceImplementation(String fixture) throws IOException {
        Path folder = Golden.root().resolve(fixture);
        config = ConfigNode.read(folder.resolve("config.json"));
        Map<String, long[]> shapes = GgufWriter.shapes(folder);
        GgufWriter.values(folder).forEach((name, data) -> tensors.put(name, new Values(data, shapes.get(name))));
        convert(config.requireText("model_type"));
        stackExperts();
        for (String name : List.copyOf(tensors.keySet())) {
            Values values = tensors.get(name);
            writer.tensor(renamed(name), values.data, values.shape);
        }
        Path file = temp.resolve(fixture + ".gguf");
        writer.write(file);
        GoldenTest.check(folder, file);
    }

    private void convert(String type) {
        switch (type) {
            case "mamba", "falcon_mamba" -> {
                start("mamba", "layer_norm_epsilon");
                writer.put("mamba.ssm.dt_b_c_rms", type.equals("falcon_mamba"));
                keys("ssm.inner_size=intermediate_size ssm.state_size=state_size ssm.conv_kernel=conv_kernel "
                        + "ssm.time_step_rank=time_step_rank");
                each(".*A_log", GgufHybridGoldenTest::negativeExp);
            }
            case "mamba2" -> {
                start("mamba2", "layer_norm_epsilon");
                put("ssm.inner_size", config.requireInt("num_heads") * config.requireInt("head_dim"));
                keys("ssm.state_size=state_size ssm.conv_kernel=conv_kernel ssm.time_step_rank=num_heads "
                        + "ssm.group_count=n_groups");
                // The reference norms all channels as one; a file of llama.cpp's would have a row for each group.
                columns(1);
            }
            case "jamba" -> {
                start("jamba", "rms_norm_eps");
                attention();
                put("ssm.inner_size", 2L * config.requireInt("hidden_size"));
                keys("feed_forward_length=intermediate_size ssm.state_size=mamba_d_state "
                        + "ssm.conv_kernel=mamba_d_conv ssm.time_step_rank=mamba_dt_rank expert_count=num_experts "
                        + "expert_used_count=num_experts_per_tok");
                each(".*A_log", GgufHybridGoldenTest::negativeExp);
            }
            case "granitemoehybrid" -> granite();
            case "falcon_h1" -> falcon();
            case "nemotron_h" -> nemotron();
            case "qwen3_next" -> qwen();
            case "lfm2", "lfm2_moe" -> {
                boolean sparse = type.equals("lfm2_moe");
                start(sparse ? "lfm2moe" : "lfm2", "norm_eps");
                attention();
                long inner = tensors.get("model.layers.0.feed_forward.w1.weight").shape[0];
                put("feed_forward_length", inner);
                keys("shortconv.l_cache=conv_L_cache rope.freq_base=rope_theta");
                if (sparse) {
                    put("expert_gating_func", 2);
                    keys("leading_dense_block_count=num_dense_layers expert_count=num_experts "
                            + "expert_used_count=num_experts_per_tok "
                            + "expert_feed_forward_length=moe_intermediate_size");
                }
            }
            case "kimi_linear" -> kimi();
            case "rwkv6-native-pth-names" -> rwkv6();
            case "rwkv7-native-pth-names" -> rwkv7();
            default -> throw new IllegalArgumentException(type);
        }
    }

    private void start(String name, String epsilon) {
        architecture = name;
        writer.put("general.architecture", name);
        put("block_count", config.requireInt("num_hidden_layers"));
        put("embedding_length", config.requireInt("hidden_size"));
        if (!config.has("num_attention_heads")) {
            put("attention.head_count", 0);
            put("feed_forward_length", 0);
        }
        writer.put(name + ".attention.layer_norm_rms_epsilon", config.requireDouble(epsilon));
    }

    private void put(String key, long value) {
        writer.put(architecture + "." + key, value);
    }

    /** Pairs {@code key=key of config.json}. */
    private void keys(String pairs) {
        for (String pair : pairs.split(" ")) {
            String[] sides = pair.split("=");
            Object value = config.json().path(sides[1]).isIntegralNumber()
                    ? (Object) (long) config.requireInt(sides[1])
                    : (Object) config.requireDouble(sides[1]);
            writer.put(architecture + "." + sides[0], value);
        }
    }

    /** Heads, and key heads as a list with 0 where a layer has no softmax attention. */
    private void attention() {
        put("attention.head_count", config.requireInt("num_attention_heads"));
        List<Long> keyHeads = new ArrayList<>();
        for (int i = 0; i < config.requireInt("num_hidden_layers"); i++) {
            String layer = ".*\\.layers\\." + i + "\\.\\w+\\.";
            boolean attends = has(layer + "kv_b_proj") || has(layer + "k_proj") && !has(layer + "b_proj");
            keyHeads.add(attends ? (long) config.requireInt("num_key_value_heads") : 0L);
        }
        writer.put(architecture + ".attention.head_count_kv", keyHeads);
        long headDim =
                config.intOr("head_dim", config.requireInt("hidden_size") / config.requireInt("num_attention_heads"));
        put("attention.key_length", headDim);
        put("attention.value_length", headDim);
        put("rope.dimension_count", headDim);
    }

    private boolean has(String weight) {
        return tensors.keySet().stream().anyMatch(name -> name.matches(weight + "\\.weight"));
    }

    private static Values negativeExp(Values logs) {
        float[] rates = new float[logs.data.length];
        for (int i = 0; i < rates.length; i++) {
            rates[i] = (float) -Math.exp(logs.data[i]);
        }
        return new Values(rates, logs.shape);
    }

    private static Values times(Values values, double factor) {
        float[] scaled = values.data.clone();
        for (int i = 0; i < scaled.length; i++) {
            scaled[i] *= (float) factor;
        }
        return new Values(scaled, values.shape);
    }

    private void each(String names, UnaryOperator<Values> change) {
        tensors.replaceAll((name, values) -> name.matches(names) ? change.apply(values) : values);
    }

    /** Mamba-2: one column for each head's rate and skip, and the norm's groups as rows. */
    private void columns(int groups) {
        each(".*A_log", logs -> {
            Values rates = negativeExp(logs);
            return new Values(rates.data, rates.data.length, 1);
        });
        each(".*\\.D", skip -> new Values(skip.data, skip.data.length, 1));
        each(".*(mamba|mixer)\\.norm\\.weight", norm -> new Values(norm.data, groups, norm.data.length / groups));
    }

    private void granite() {
        start("granitehybrid", "rms_norm_eps");
        attention();
        put("ssm.inner_size", (long) config.requireInt("mamba_n_heads") * config.requireInt("mamba_d_head"));
        keys("ssm.state_size=mamba_d_state ssm.conv_kernel=mamba_d_conv ssm.time_step_rank=mamba_n_heads "
                + "ssm.group_count=mamba_n_groups feed_forward_length=intermediate_size "
                + "expert_shared_feed_forward_length=shared_intermediate_size expert_count=num_local_experts "
                + "expert_used_count=num_experts_per_tok attention.scale=attention_multiplier "
                + "embedding_scale=embedding_multiplier residual_scale=residual_multiplier "
                + "logit_scale=logits_scaling rope.freq_base=rope_theta");
        writer.put("granitehybrid.rope.scaling.finetuned", false);
        columns(config.requireInt("mamba_n_groups"));
        for (String name : List.copyOf(tensors.keySet())) {
            Values values = tensors.get(name);
            if (name.endsWith("self_attn.q_proj.weight") || name.endsWith("self_attn.k_proj.weight")) {
                String heads = name.contains("q_proj") ? "num_attention_heads" : "num_key_value_heads";
                tensors.put(name, paired(values, config.requireInt(heads)));
            } else if (name.endsWith("input_linear.weight")) {
                boolean experts = name.contains("block_sparse_moe");
                int count = experts ? (int) values.shape[0] : 1;
                int rows = (int) values.shape[values.shape.length - 2];
                int width = (int) values.shape[values.shape.length - 1];
                tensors.remove(name);
                String scope = experts
                        ? name.replace("input_linear.weight", "experts.")
                        : name.replace("input_linear.weight", "");
                tensors.put(scope + "gate_proj.weight", half(values, count, rows, width, 0));
                tensors.put(scope + "up_proj.weight", half(values, count, rows, width, 1));
            } else if (name.endsWith("output_linear.weight")) {
                tensors.remove(name);
                String experts = name.contains("block_sparse_moe") ? "experts." : "";
                tensors.put(name.replace("output_linear.weight", experts + "down_proj.weight"), values);
            }
        }
    }

    private static Values half(Values both, int count, int rows, int width, int which) {
        float[] data = new float[both.data.length / 2];
        int size = rows / 2 * width;
        for (int i = 0; i < count; i++) {
            System.arraycopy(both.data, (2 * i + which) * size, data, i * size, size);
        }
        return count == 1 ? new Values(data, rows / 2, width) : new Values(data, count, rows / 2, width);
    }

    /** Halves of each head become neighbours. */
    private static Values paired(Values weight, int heads) {
        int in = (int) weight.shape[1];
        int half = (int) weight.shape[0] / heads / 2;
        float[] out = new float[weight.data.length];
        for (int row = 0; row < heads * 2 * half; row++) {
            int h = row / (2 * half);
            int to = h * 2 * half + row % half * 2 + row / half % 2;
            System.arraycopy(weight.data, row * in, out, to * in, in);
        }
        return new Values(out, weight.shape);
    }

    /** The converter multiplies the multipliers into the weights. */
    private void falcon() {
        start("falcon-h1", "rms_norm_eps");
        attention();
        writer.put("falcon-h1.attention.head_count_kv", (long) config.requireInt("num_key_value_heads"));
        keys("ssm.inner_size=mamba_d_ssm ssm.state_size=mamba_d_state ssm.conv_kernel=mamba_d_conv "
                + "ssm.time_step_rank=mamba_n_heads ssm.group_count=mamba_n_groups "
                + "feed_forward_length=intermediate_size rope.freq_base=rope_theta");
        columns(config.requireInt("mamba_n_groups"));
        each("model.embed_tokens.weight", all -> times(all, config.requireDouble("embedding_multiplier")));
        each("lm_head.weight", all -> times(all, config.requireDouble("lm_head_multiplier")));
        double in = config.requireDouble("attention_in_multiplier");
        each(".*self_attn.[qv]_proj.weight", all -> times(all, in));
        each(".*self_attn.k_proj.weight", all -> times(all, in * config.requireDouble("key_multiplier")));
        each(".*self_attn.o_proj.weight", all -> times(all, config.requireDouble("attention_out_multiplier")));
        each(".*mamba.out_proj.weight", all -> times(all, config.requireDouble("ssm_out_multiplier")));
        List<Double> mlp = config.doubles("mlp_multipliers");
        each(".*gate_proj.weight", all -> times(all, mlp.get(0)));
        each(".*down_proj.weight", all -> times(all, mlp.get(1)));
        int inner = config.requireInt("mamba_d_ssm");
        int keys = config.requireInt("mamba_n_groups") * config.requireInt("mamba_d_state");
        int[] ends = {inner, 2 * inner, 2 * inner + keys, 2 * inner + 2 * keys, Integer.MAX_VALUE};
        each(".*mamba.in_proj.weight", all -> {
            float[] data = all.data.clone();
            for (int i = 0; i < data.length; i++) {
                int part = 0;
                while (i / all.shape[1] >= ends[part]) {
                    part++;
                }
                data[i] *= (float) (config.requireDouble("ssm_in_multiplier")
                        * config.doubles("ssm_multipliers").get(part));
            }
            return new Values(data, all.shape);
        });
    }

    private void nemotron() {
        String pattern = config.requireText("hybrid_override_pattern");
        boolean sparse = pattern.contains("E");
        start(sparse ? "nemotron_h_moe" : "nemotron_h", "rms_norm_eps");
        attention();
        List<Long> inner = new ArrayList<>();
        String size = sparse ? "moe_intermediate_size" : "intermediate_size";
        pattern.chars().forEach(kind -> inner.add(kind == '-' || kind == 'E' ? config.requireInt(size) : 0L));
        writer.put(architecture + ".feed_forward_length", inner);
        put("ssm.inner_size", (long) config.requireInt("mamba_num_heads") * config.requireInt("mamba_head_dim"));
        keys("ssm.state_size=ssm_state_size ssm.conv_kernel=conv_kernel ssm.time_step_rank=mamba_num_heads "
                + "ssm.group_count=n_groups");
        if (sparse) {
            keys("expert_count=n_routed_experts expert_used_count=num_experts_per_tok "
                    + "expert_feed_forward_length=moe_intermediate_size expert_shared_count=n_shared_experts "
                    + "expert_shared_feed_forward_length=moe_shared_expert_intermediate_size "
                    + "expert_weights_scale=routed_scaling_factor expert_group_count=n_group "
                    + "expert_group_used_count=topk_group");
            writer.put(architecture + ".expert_weights_norm", config.booleanOr("norm_topk_prob", true));
        }
        columns(config.requireInt("n_groups"));
    }

    /** Queries, keys and values sorted by kind, and the 1 of the norms in their weights. */
    private void qwen() {
        start("qwen3next", "rms_norm_eps");
        attention();
        writer.put("qwen3next.attention.head_count_kv", (long) config.requireInt("num_key_value_heads"));
        int keyHeads = config.requireInt("linear_num_key_heads");
        int keyDim = config.requireInt("linear_key_head_dim");
        int values = config.requireInt("linear_num_value_heads") * config.requireInt("linear_value_head_dim");
        put("ssm.inner_size", values);
        put("rope.dimension_count", (long)
                (config.requireInt("head_dim") * config.requireDouble("partial_rotary_factor")));
        keys("ssm.state_size=linear_key_head_dim ssm.conv_kernel=linear_conv_kernel_dim "
                + "ssm.time_step_rank=linear_num_value_heads ssm.group_count=linear_num_key_heads "
                + "rope.freq_base=rope_theta feed_forward_length=intermediate_size expert_count=num_experts "
                + "expert_used_count=num_experts_per_tok expert_feed_forward_length=moe_intermediate_size "
                + "expert_shared_feed_forward_length=shared_expert_intermediate_size "
                + "full_attention_interval=full_attention_interval");
        // A layer that predicts further tokens, which is not run.
        int layers = config.requireInt("num_hidden_layers");
        put("block_count", layers + 1);
        put("nextn_predict_layers", 1);
        writer.tensor("blk." + layers + ".nextn.eh_proj.weight", new float[6], 2, 3);
        each(".*A_log", GgufHybridGoldenTest::negativeExp);
        for (String name : List.copyOf(tensors.keySet())) {
            Values all = tensors.get(name);
            if (name.endsWith("norm.weight") && !name.endsWith("linear_attn.norm.weight")) {
                float[] data = all.data.clone();
                for (int i = 0; i < data.length; i++) {
                    data[i] += 1;
                }
                tensors.put(name, new Values(data, all.shape));
            } else if (name.endsWith("shared_expert_gate.weight")) {
                tensors.put(name, new Values(all.data, all.shape[1]));
            } else if (name.endsWith("in_proj_qkvz.weight")) {
                int width = (int) all.shape[1];
                int share = values / keyHeads;
                int[] starts = {0, keyDim, 2 * keyDim, 2 * keyDim + share, 2 * keyDim + 2 * share};
                float[] sorted = new float[all.data.length];
                int to = 0;
                for (int part = 0; part < 4; part++) {
                    int rows = starts[part + 1] - starts[part];
                    for (int head = 0; head < keyHeads; head++) {
                        int from = head * starts[4] + starts[part];
                        System.arraycopy(all.data, from * width, sorted, to * width, rows * width);
                        to += rows;
                    }
                }
                int first = 2 * keyHeads * keyDim + values;
                tensors.remove(name);
                tensors.put(name.replace("qkvz", "qkv"), rows(sorted, 0, first, width));
                tensors.put(name.replace("qkvz", "z"), rows(sorted, first, values, width));
            }
        }
    }

    private static Values rows(float[] data, int first, int count, int width) {
        float[] cut = Arrays.copyOfRange(data, first * width, (first + count) * width);
        return new Values(cut, count, width);
    }

    private void kimi() {
        start("kimi-linear", "rms_norm_eps");
        attention();
        ConfigNode linear = config.at("linear_attn_config");
        put("kda.head_dim", linear.requireInt("head_dim"));
        put("ssm.conv_kernel", linear.requireInt("short_conv_kernel_size"));
        put("attention.key_length_mla", config.requireInt("qk_nope_head_dim") + config.requireInt("qk_rope_head_dim"));
        put("attention.value_length_mla", config.requireInt("v_head_dim"));
        put("rope.dimension_count", config.requireInt("qk_rope_head_dim"));
        put("expert_gating_func", 2);
        keys("attention.kv_lora_rank=kv_lora_rank feed_forward_length=intermediate_size expert_count=num_experts "
                + "expert_used_count=num_experts_per_token expert_feed_forward_length=moe_intermediate_size "
                + "expert_shared_count=num_shared_experts leading_dense_block_count=first_k_dense_replace "
                + "expert_weights_scale=routed_scaling_factor");
        each(".*A_log", logs -> {
            Values rates = negativeExp(logs);
            return new Values(rates.data, 1, 1, rates.data.length, 1);
        });
    }

    private void rwkv6() {
        rwkv("rwkv6");
        each(".*time_(maa|decay)_w[12]", GgufHybridGoldenTest::transposed);
    }

    private void rwkv7() {
        rwkv("rwkv7");
        each(".*att\\.[wavg][12]", GgufHybridGoldenTest::transposed);
        for (int layer = 0; layer < config.requireInt("n_layer"); layer++) {
            int width = config.requireInt("n_embd");
            float[] fused = new float[6 * width];
            for (int i = 0; i < 6; i++) {
                String name = "blocks." + layer + ".att.x_" + "rwkvag".charAt(i);
                System.arraycopy(tensors.remove(name).data, 0, fused, i * width, width);
            }
            tensors.put("blocks." + layer + ".att.lerp_fused", new Values(fused, 6, 1, 1, width));
        }
        each(".*att\\.r_k", bonus -> new Values(bonus.data, bonus.data.length));
    }

    private void rwkv(String name) {
        architecture = name;
        writer.put("general.architecture", name);
        writer.put(name + ".attention.layer_norm_epsilon", 1e-5);
        put("attention.head_count", 0);
        keys("block_count=n_layer embedding_length=n_embd wkv.head_size=head_size feed_forward_length=dim_ffn");
    }

    /** The last two extents exchanged. */
    private static Values transposed(Values weight) {
        int n = weight.shape.length;
        int rows = (int) weight.shape[n - 2];
        int columns = (int) weight.shape[n - 1];
        float[] data = new float[weight.data.length];
        for (int i = 0; i < data.length; i++) {
            int slice = i / (rows * columns) * rows * columns;
            int row = i % (rows * columns) / columns;
            data[slice + i % columns * rows + row] = weight.data[i];
        }
        long[] shape = weight.shape.clone();
        shape[n - 2] = columns;
        shape[n - 1] = rows;
        return new Values(data, shape);
    }

    private void stackExperts() {
        Map<String, List<Values>> stacks = new LinkedHashMap<>();
        for (String name : List.copyOf(tensors.keySet())) {
            Matcher expert = EXPERT.matcher(name);
            if (expert.matches()) {
                List<Values> stack = stacks.computeIfAbsent(
                        expert.group(1) + "." + expert.group(3) + ".weight", key -> new ArrayList<>());
                stack.add(tensors.remove(name));
            }
        }
        stacks.forEach((name, experts) -> {
            Values first = experts.get(0);
            float[] all = new float[experts.size() * first.data.length];
            for (int e = 0; e < experts.size(); e++) {
                System.arraycopy(experts.get(e).data, 0, all, e * first.data.length, first.data.length);
            }
            tensors.put(name, new Values(all, experts.size(), first.shape[0], first.shape[1]));
        });
    }

    private String renamed(String name) {
        Matcher layer = Pattern.compile("(?:model\\.|backbone\\.)?(?:layers|blocks)\\.(\\d+)\\.(.*)")
                .matcher(name);
        if (!layer.matches()) {
            return name.replaceFirst("^(model|backbone)\\.(embed_tokens|embeddings?)\\.", "token_embd.")
                    .replaceFirst("^model\\.embedding_norm\\.", "token_embd_norm.")
                    .replaceFirst("^(model|backbone)\\.(norm|final_layernorm|norm_f)\\.", "output_norm.")
                    .replaceFirst("^ln_out\\.", "output_norm.")
                    .replaceFirst("^emb\\.", "token_embd.")
                    .replaceFirst("^(lm_head|head)\\.", "output.");
        }
        String inner = layer.group(2);
        Matcher expert = Pattern.compile(".*experts\\.(gate_proj|up_proj|down_proj|w1|w2|w3)\\.weight")
                .matcher(inner);
        if (expert.matches() && !inner.contains("shared_experts")) {
            String kind = Map.of("w1", "gate", "w3", "up", "w2", "down")
                    .getOrDefault(expert.group(1), expert.group(1).replace("_proj", ""));
            return "blk." + layer.group(1) + ".ffn_" + kind + "_exps.weight";
        }
        if (inner.matches("(post_attention_layernorm|pre_ff_layernorm|ffn_norm)\\.weight")) {
            String norm =
                    switch (architecture) {
                        case "qwen3next" -> "post_attention_norm.weight";
                        case "falcon-h1" -> "ffn_norm";
                        default -> "ffn_norm.weight";
                    };
            return "blk." + layer.group(1) + "." + norm;
        }
        String table = architecture.startsWith("rwkv")
                ? RWKV
                : architecture.startsWith("nemotron") ? ATTENTION + MAMBA + REST : MAMBA + ATTENTION + REST;
        for (String line : table.lines().toList()) {
            String[] sides = line.split("=");
            Matcher found = Pattern.compile(sides[0]).matcher(inner);
            if (found.lookingAt()) {
                String mapped = found.replaceFirst(sides[1]);
                return mapped.startsWith("!") ? mapped.substring(1) : "blk." + layer.group(1) + "." + mapped;
            }
        }
        throw new IllegalArgumentException(name);
    }
}
