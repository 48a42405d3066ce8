package io.nightmill.models;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * An architecture as llama.cpp names it, beside Hugging Face's names for the same model.
 *
 * @param name {@code general.architecture}
 * @param type the {@code model_type} that builds it
 * @param tensors from modules to modules, or from whole tensors to whole tensors where the source has its leaf; what
 *     follows {@code blk.N.} in the file goes below {@code blk} and the layer's number
 * @param keys from keys of a config.json to the file's keys, which lack the architecture's name
 */
record GgufArchitecture(String name, String type, Map<String, String> tensors, Map<String, String> keys) {
    private static final String COMMON =
            """
            blk model.layers
            token_embd model.embed_tokens
            output_norm model.norm
            output lm_head
            attn_norm input_layernorm
            attn_q self_attn.q_proj
            attn_k self_attn.k_proj
            attn_v self_attn.v_proj
            attn_qkv self_attn.qkv_proj
            attn_output self_attn.o_proj
            attn_q_norm self_attn.q_norm
            attn_k_norm self_attn.k_norm
            attn_q_a self_attn.q_a_proj
            attn_q_a_norm self_attn.q_a_layernorm
            attn_q_b self_attn.q_b_proj
            attn_kv_a_mqa self_attn.kv_a_proj_with_mqa
            attn_kv_a_norm self_attn.kv_a_layernorm
            attn_kv_b self_attn.kv_b_proj
            attn_k_b self_attn.k_b_proj
            attn_v_b self_attn.v_b_proj
            attn_sinks.weight self_attn.sinks
            post_attention_norm post_attention_layernorm
            post_ffw_norm post_feedforward_layernorm
            ffn_norm post_attention_layernorm
            ffn_gate mlp.gate_proj
            ffn_up mlp.up_proj
            ffn_down mlp.down_proj
            ffn_gate_inp mlp.gate
            ffn_gate_exps mlp.experts.gate_proj
            ffn_up_exps mlp.experts.up_proj
            ffn_down_exps mlp.experts.down_proj
            ffn_gate_inp_shexp mlp.shared_expert_gate
            ffn_gate_shexp mlp.shared_experts.gate_proj
            ffn_up_shexp mlp.shared_experts.up_proj
            ffn_down_shexp mlp.shared_experts.down_proj
            exp_probs_b.bias mlp.gate.e_score_correction_bias
            """;

    private static final String SHARED_EXPERT =
            """
            ffn_gate_shexp mlp.shared_expert.gate_proj
            ffn_up_shexp mlp.shared_expert.up_proj
            ffn_down_shexp mlp.shared_expert.down_proj
            """;

    private static final String SPARSE_BLOCK =
            """
            ffn_gate_inp block_sparse_moe.gate
            ffn_gate_exps block_sparse_moe.experts.w1
            ffn_up_exps block_sparse_moe.experts.w3
            ffn_down_exps block_sparse_moe.experts.w2
            """;

    private static final String SANDWICH = "ffn_norm pre_feedforward_layernorm";

    private static final String EXPERTS =
            """
            moe_intermediate_size expert_feed_forward_length
            num_experts_per_tok expert_used_count
            shared_expert_intermediate_size expert_shared_feed_forward_length
            n_shared_experts expert_shared_count
            first_k_dense_replace leading_dense_block_count
            n_group expert_group_count
            topk_group expert_group_used_count
            routed_scaling_factor expert_weights_scale
            norm_topk_prob expert_weights_norm
            """;

    private static final String NUMBERED = "num_experts expert_count\n" + EXPERTS;
    private static final String ROUTED = "n_routed_experts expert_count\n" + EXPERTS;
    private static final String LOCAL = "num_local_experts expert_count\n" + EXPERTS;

    private static final String LATENT =
            """
            q_lora_rank attention.q_lora_rank
            kv_lora_rank attention.kv_lora_rank
            """;

    private static final String PURE_MAMBA =
            """
            blk backbone.layers
            token_embd backbone.embeddings
            output_norm backbone.norm_f
            attn_norm norm
            """;

    private static final String PURE_MAMBA_KEYS =
            """
            intermediate_size ssm.inner_size
            state_size ssm.state_size
            conv_kernel ssm.conv_kernel
            n_groups ssm.group_count
            num_heads ssm.time_step_rank
            time_step_rank ssm.time_step_rank
            """;

    private static final String MAMBA2_KEYS =
            """
            mamba_d_ssm ssm.inner_size
            mamba_d_state ssm.state_size
            mamba_d_conv ssm.conv_kernel
            mamba_n_groups ssm.group_count
            mamba_n_heads ssm.time_step_rank
            """;

    private static final String RWKV =
            """
            blk blocks
            token_embd emb
            token_embd_norm blocks.0.ln0
            output_norm ln_out
            output head
            attn_norm ln1
            attn_norm_2 ln2
            time_mix_ln att.ln_x
            time_mix_key att.key
            time_mix_value att.value
            time_mix_receptance att.receptance
            time_mix_output att.output
            channel_mix_key ffn.key
            channel_mix_value ffn.value
            """;

    private static final String RWKV_KEYS =
            """
            n_embd embedding_length
            n_layer block_count
            head_size wkv.head_size
            layer_norm_epsilon attention.layer_norm_epsilon
            rescale_every_n_layers rescale_every_n_layers
            """;

    /** All that can be read; one architecture may become several types, told apart by the file's keys and tensors. */
    static final List<GgufArchitecture> ALL = List.of(
            of("llama", "llama", "", ""),
            of("llama", "mixtral", SPARSE_BLOCK, LOCAL),
            of("qwen2", "qwen2", "", ""),
            of("qwen2moe", "qwen2_moe", SHARED_EXPERT, NUMBERED),
            of("qwen3", "qwen3", "", ""),
            of("qwen3moe", "qwen3_moe", "", NUMBERED),
            of("gemma", "gemma", "", ""),
            of("gemma2", "gemma2", SANDWICH, ""),
            of("gemma3", "gemma3_text", SANDWICH, ""),
            of("olmo2", "olmo2", "", ""),
            of("olmoe", "olmoe", "", NUMBERED),
            of("deepseek2", "deepseek_v2", "", ROUTED + LATENT),
            of("deepseek2", "deepseek_v3", "", ROUTED + LATENT),
            of("gpt-oss", "gpt_oss", "ffn_gate_inp mlp.router", LOCAL),
            of("phi3", "phi3", "ffn_up mlp.gate_up_proj", ""),
            of("mamba", "mamba", PURE_MAMBA + mamba("mixer"), PURE_MAMBA_KEYS),
            of("mamba", "falcon_mamba", PURE_MAMBA + mamba("mixer"), PURE_MAMBA_KEYS),
            of("mamba2", "mamba2", PURE_MAMBA + mamba2("mixer"), PURE_MAMBA_KEYS),
            of(
                    "jamba",
                    "jamba",
                    """
                    output_norm model.final_layernorm
                    ffn_norm pre_ff_layernorm
                    ssm_dt_norm mamba.dt_layernorm
                    ssm_b_norm mamba.b_layernorm
                    ssm_c_norm mamba.c_layernorm
                    ffn_gate feed_forward.gate_proj
                    ffn_up feed_forward.up_proj
                    ffn_down feed_forward.down_proj
                    ffn_gate_inp feed_forward.router
                    ffn_gate_exps feed_forward.experts.gate_proj
                    ffn_up_exps feed_forward.experts.up_proj
                    ffn_down_exps feed_forward.experts.down_proj
                    """
                            + mamba("mamba"),
                    MAMBA2_KEYS + "mamba_dt_rank ssm.time_step_rank\n" + NUMBERED),
            granite("granitehybrid"),
            granite("granite"),
            granite("granitemoe"),
            of(
                    "falcon-h1",
                    "falcon_h1",
                    """
                    output_norm model.final_layernorm
                    ffn_norm pre_ff_layernorm
                    ffn_gate feed_forward.gate_proj
                    ffn_up feed_forward.up_proj
                    ffn_down feed_forward.down_proj
                    """
                            + mamba2("mamba"),
                    MAMBA2_KEYS),
            nemotron("nemotron_h"),
            nemotron("nemotron_h_moe"),
            of(
                    "qwen3next",
                    "qwen3_next",
                    SHARED_EXPERT
                            + """
                            attn_qkv linear_attn.in_proj_qkv
                            attn_gate linear_attn.in_proj_z
                            ssm_in linear_attn.in_proj_qkvz
                            ssm_ba linear_attn.in_proj_ba
                            ssm_conv1d linear_attn.conv1d
                            ssm_dt.bias linear_attn.dt_bias
                            ssm_a.weight linear_attn.A
                            ssm_norm linear_attn.norm
                            ssm_out linear_attn.out_proj
                            """,
                    """
                    linear_conv_kernel_dim ssm.conv_kernel
                    linear_key_head_dim ssm.state_size
                    linear_num_key_heads ssm.group_count
                    linear_num_value_heads ssm.time_step_rank
                    full_attention_interval full_attention_interval
                    """
                            + NUMBERED),
            lfm2("lfm2", "lfm2"),
            lfm2("lfm2moe", "lfm2_moe"),
            of(
                    "kimi-linear",
                    "kimi_linear",
                    SPARSE_BLOCK
                            + """
                            ssm_conv1d_q self_attn.q_conv1d
                            ssm_conv1d_k self_attn.k_conv1d
                            ssm_conv1d_v self_attn.v_conv1d
                            ssm_f_a self_attn.f_a_proj
                            ssm_f_b self_attn.f_b_proj
                            ssm_g_a self_attn.g_a_proj
                            ssm_g_b self_attn.g_b_proj
                            ssm_beta self_attn.b_proj
                            ssm_dt.bias self_attn.dt_bias
                            ssm_a.weight self_attn.A
                            ssm_norm self_attn.o_norm
                            ffn_gate_shexp block_sparse_moe.shared_experts.gate_proj
                            ffn_up_shexp block_sparse_moe.shared_experts.up_proj
                            ffn_down_shexp block_sparse_moe.shared_experts.down_proj
                            exp_probs_b.bias block_sparse_moe.gate.e_score_correction_bias
                            """,
                    """
                    num_experts_per_token expert_used_count
                    num_shared_experts expert_shared_count
                    num_expert_group expert_group_count
                    moe_renormalize expert_weights_norm
                    """
                            + LATENT
                            + NUMBERED),
            of(
                    "plamo2",
                    "plamo2",
                    """
                    blk model.layers.layers
                    attn_norm pre_mixer_norm
                    post_attention_norm post_mixer_norm
                    ffn_norm pre_mlp_norm
                    post_ffw_norm post_mlp_norm
                    attn_qkv mixer.qkv_proj
                    attn_q_norm.weight mixer.q_weight
                    attn_k_norm.weight mixer.k_weight
                    attn_output mixer.o_proj
                    ssm_dt.bias mixer.dt_bias
                    ssm_dt_norm.weight mixer.dt_norm_weight
                    ssm_b_norm.weight mixer.B_norm_weight
                    ssm_c_norm.weight mixer.C_norm_weight
                    ffn_up mlp.gate_up_proj
                    """
                            + mamba("mixer").replace("x_proj", "bcdt_proj"),
                    MAMBA2_KEYS + "mamba_num_heads ssm.time_step_rank\n"),
            of(
                    "rwkv6",
                    "rwkv6-native-pth-names",
                    RWKV
                            + """
                            time_mix_lerp_x.weight att.time_maa_x
                            time_mix_lerp_w.weight att.time_maa_w
                            time_mix_lerp_k.weight att.time_maa_k
                            time_mix_lerp_v.weight att.time_maa_v
                            time_mix_lerp_r.weight att.time_maa_r
                            time_mix_lerp_g.weight att.time_maa_g
                            time_mix_lerp_fused.weight att.time_maa_wkvrg
                            time_mix_w1 att.time_maa_w1
                            time_mix_w2 att.time_maa_w2
                            time_mix_first.weight att.time_faaaa
                            time_mix_decay.weight att.time_decay
                            time_mix_decay_w1 att.time_decay_w1
                            time_mix_decay_w2 att.time_decay_w2
                            time_mix_gate att.gate
                            channel_mix_lerp_k.weight ffn.time_maa_k
                            channel_mix_lerp_r.weight ffn.time_maa_r
                            channel_mix_receptance ffn.receptance
                            """,
                    RWKV_KEYS),
            of(
                    "rwkv7",
                    "rwkv7-native-pth-names",
                    RWKV
                            + """
                            time_mix_lerp_fused.weight att.x_rwkvag
                            time_mix_w0.weight att.w0
                            time_mix_w1 att.w1
                            time_mix_w2 att.w2
                            time_mix_a0.weight att.a0
                            time_mix_a1 att.a1
                            time_mix_a2 att.a2
                            time_mix_v0.weight att.v0
                            time_mix_v1 att.v1
                            time_mix_v2 att.v2
                            time_mix_g1 att.g1
                            time_mix_g2 att.g2
                            time_mix_k_k.weight att.k_k
                            time_mix_k_a.weight att.k_a
                            time_mix_r_k.weight att.r_k
                            channel_mix_lerp_k.weight ffn.x_k
                            """,
                    RWKV_KEYS));

    private static GgufArchitecture of(String name, String type, String tensors, String keys) {
        Map<String, String> all = table(COMMON);
        all.putAll(table(tensors));
        return new GgufArchitecture(name, type, all, table(keys));
    }

    private static String mamba(String scope) {
        return """
                ssm_in %1$s.in_proj
                ssm_conv1d %1$s.conv1d
                ssm_x %1$s.x_proj
                ssm_dt %1$s.dt_proj
                ssm_a.weight %1$s.A
                ssm_d.weight %1$s.D
                ssm_out %1$s.out_proj
                """
                .formatted(scope);
    }

    private static String mamba2(String scope) {
        return mamba(scope)
                + """
                ssm_dt.bias %1$s.dt_bias
                ssm_norm %1$s.norm
                """
                        .formatted(scope);
    }

    private static GgufArchitecture granite(String name) {
        String tensors =
                """
                ffn_gate shared_mlp.gate_proj
                ffn_up shared_mlp.up_proj
                ffn_down shared_mlp.down_proj
                ffn_gate_shexp shared_mlp.gate_proj
                ffn_up_shexp shared_mlp.up_proj
                ffn_down_shexp shared_mlp.down_proj
                ffn_gate_inp block_sparse_moe.router.layer
                ffn_gate_exps block_sparse_moe.gate_proj
                ffn_up_exps block_sparse_moe.up_proj
                ffn_down_exps block_sparse_moe.down_proj
                """;
        String keys =
                """
                embedding_multiplier embedding_scale
                residual_multiplier residual_scale
                attention_multiplier attention.scale
                logits_scaling logit_scale
                shared_intermediate_size expert_shared_feed_forward_length
                """;
        return of(name, "granitemoehybrid", tensors + mamba2("mamba"), keys + MAMBA2_KEYS + LOCAL);
    }

    private static GgufArchitecture nemotron(String name) {
        String tensors =
                """
                attn_q mixer.q_proj
                attn_k mixer.k_proj
                attn_v mixer.v_proj
                attn_output mixer.o_proj
                ffn_up mixer.up_proj
                ffn_down mixer.down_proj
                ffn_gate_inp mixer.gate
                ffn_up_exps mixer.experts.up_proj
                ffn_down_exps mixer.experts.down_proj
                ffn_up_shexp mixer.shared_experts.up_proj
                ffn_down_shexp mixer.shared_experts.down_proj
                ffn_latent_down mixer.fc1_latent_proj
                ffn_latent_up mixer.fc2_latent_proj
                exp_probs_b.bias mixer.gate.e_score_correction_bias
                """;
        String keys =
                """
                ssm_state_size ssm.state_size
                conv_kernel ssm.conv_kernel
                n_groups ssm.group_count
                mamba_num_heads ssm.time_step_rank
                moe_shared_expert_intermediate_size expert_shared_feed_forward_length
                moe_latent_size moe_latent_size
                """;
        return of(name, "nemotron_h", PURE_MAMBA + mamba2("mixer") + tensors, keys + ROUTED);
    }

    private static GgufArchitecture lfm2(String name, String type) {
        String tensors =
                """
                output_norm model.embedding_norm
                token_embd_norm model.embedding_norm
                attn_norm operator_norm
                ffn_norm ffn_norm
                attn_output self_attn.out_proj
                attn_q_norm self_attn.q_layernorm
                attn_k_norm self_attn.k_layernorm
                shortconv.conv conv.conv
                shortconv.in_proj conv.in_proj
                shortconv.out_proj conv.out_proj
                ffn_gate feed_forward.w1
                ffn_up feed_forward.w3
                ffn_down feed_forward.w2
                ffn_gate_inp feed_forward.gate
                ffn_gate_exps feed_forward.experts.w1
                ffn_up_exps feed_forward.experts.w3
                ffn_down_exps feed_forward.experts.w2
                exp_probs_b.bias feed_forward.expert_bias
                """;
        String keys = "conv_L_cache shortconv.l_cache\nnum_dense_layers leading_dense_block_count\n";
        return of(name, type, tensors, keys + NUMBERED);
    }

    private static Map<String, String> table(String lines) {
        Map<String, String> table = new LinkedHashMap<>();
        lines.lines().filter(line -> !line.isBlank()).forEach(line -> {
            String[] pair = line.split(" ");
            table.put(pair[0], pair[1]);
        });
        return table;
    }

    /** The name in Hugging Face's layout; a tensor without {@code .weight} or {@code .bias} is a weight. */
    String rename(String tensor) {
        String scope = "";
        String rest = tensor;
        if (tensor.startsWith("blk.")) {
            int number = tensor.indexOf('.', 4);
            scope = tensors.get("blk") + tensor.substring(3, Math.max(3, number)) + ".";
            rest = tensor.substring(number + 1);
        }
        String suffix = rest.endsWith(".bias") ? ".bias" : ".weight";
        String module = rest.endsWith(suffix) ? rest.substring(0, rest.length() - suffix.length()) : rest;
        String whole = tensors.get(module + suffix);
        if (whole != null) {
            return scope + whole;
        }
        String known = tensors.get(module);
        return known == null ? tensor : scope + known + suffix;
    }
}
