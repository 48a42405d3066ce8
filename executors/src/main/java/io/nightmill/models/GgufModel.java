package io.nightmill.models;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.kernels.Backend;
import io.nightmill.text.HuggingFaceTokenizer;
import io.nightmill.text.PreTokenizers;
import io.nightmill.text.Tokenizer;
import io.nightmill.text.TokenizerJson;
import io.nightmill.text.Vocabulary;
import io.nightmill.weights.Checkpoint;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Gguf;
import io.nightmill.weights.Precision;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** A GGUF file in the terms of Hugging Face's layout: its keys as a config.json, its tensors under their names there. */
final class GgufModel {
    /** GGUF's architectures and the model types that build them. */
    private static final Map<String, String> TYPES = Map.ofEntries(
            Map.entry("llama", "llama"),
            Map.entry("qwen2", "qwen2"),
            Map.entry("qwen2moe", "qwen2_moe"),
            Map.entry("qwen3", "qwen3"),
            Map.entry("qwen3moe", "qwen3_moe"),
            Map.entry("gemma", "gemma"),
            Map.entry("gemma2", "gemma2"),
            Map.entry("gemma3", "gemma3_text"),
            Map.entry("olmo2", "olmo2"),
            Map.entry("olmoe", "olmoe"),
            Map.entry("deepseek2", "deepseek_v2"),
            Map.entry("gpt-oss", "gpt_oss"),
            Map.entry("phi3", "phi3"));

    /** Model types that share an architecture with another and are told apart by the file's keys. */
    private static final Map<String, String> BECOMES = Map.of("mixtral", "llama", "deepseek_v3", "deepseek_v2");

    private static final Map<String, String> OUTER = Map.of(
            "token_embd.weight", "model.embed_tokens.weight",
            "output_norm.weight", "model.norm.weight",
            "output.weight", "lm_head.weight");

    private static final Map<String, String> INNER = Map.ofEntries(
            Map.entry("attn_norm", "input_layernorm"),
            Map.entry("attn_q", "self_attn.q_proj"),
            Map.entry("attn_k", "self_attn.k_proj"),
            Map.entry("attn_v", "self_attn.v_proj"),
            Map.entry("attn_qkv", "self_attn.qkv_proj"),
            Map.entry("attn_output", "self_attn.o_proj"),
            Map.entry("attn_q_norm", "self_attn.q_norm"),
            Map.entry("attn_k_norm", "self_attn.k_norm"),
            Map.entry("attn_q_a", "self_attn.q_a_proj"),
            Map.entry("attn_q_a_norm", "self_attn.q_a_layernorm"),
            Map.entry("attn_q_b", "self_attn.q_b_proj"),
            Map.entry("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"),
            Map.entry("attn_kv_a_norm", "self_attn.kv_a_layernorm"),
            Map.entry("attn_kv_b", "self_attn.kv_b_proj"),
            Map.entry("attn_k_b", "self_attn.k_b_proj"),
            Map.entry("attn_v_b", "self_attn.v_b_proj"),
            Map.entry("post_attention_norm", "post_attention_layernorm"),
            Map.entry("post_ffw_norm", "post_feedforward_layernorm"),
            Map.entry("ffn_gate", "mlp.gate_proj"),
            Map.entry("ffn_down", "mlp.down_proj"));

    private static final Pattern BLOCK = Pattern.compile("blk\\.(\\d+)\\.([a-z0-9_]+)\\.(weight|bias)");

    private final Gguf file;
    private final String architecture;
    private final String type;

    GgufModel(Gguf file) {
        this.file = file;
        this.architecture = file.text("general.architecture")
                .orElseThrow(() -> new IllegalArgumentException(
                        "Cannot open model " + file.path() + ": key 'general.architecture' is missing"));
        String known = TYPES.get(architecture);
        if (known == null) {
            throw new IllegalArgumentException("Cannot build architecture '%s' of %s, supported in GGUF are %s"
                    .formatted(
                            architecture,
                            file.path(),
                            TYPES.keySet().stream().sorted().toList()));
        }
        boolean sparse = integer("expert_count", 0) > 0;
        boolean biased = file.hasTensor("blk." + integer("leading_dense_block_count", 0) + ".exp_probs_b.bias");
        this.type = architecture.equals("llama") && sparse
                ? "mixtral"
                : architecture.equals("deepseek2") && biased ? "deepseek_v3" : known;
    }

    /** The architectures that become a model type, sorted. */
    static List<String> architectures(String type) {
        String written = BECOMES.getOrDefault(type, type);
        return TYPES.entrySet().stream()
                .filter(entry -> entry.getValue().equals(written))
                .map(Map.Entry::getKey)
                .sorted()
                .toList();
    }

    Checkpoint checkpoint(Backend backend, Precision precision) {
        return file.checkpoint(this::rename, backend, precision);
    }

    /** The name that the family reads a tensor by; null for tables that are part of the configuration. */
    @Nullable
    String rename(String name) {
        if (name.equals("rope_freqs.weight") || name.startsWith("rope_factors_")) {
            return null;
        }
        Matcher block = BLOCK.matcher(name);
        if (!block.matches()) {
            return OUTER.getOrDefault(name, name);
        }
        String inner = inner(block.group(2));
        String leaf = block.group(3);
        if (inner.equals("self_attn.sinks") || inner.endsWith("e_score_correction_bias")) {
            return "model.layers." + block.group(1) + "." + inner;
        }
        return "model.layers." + block.group(1) + "." + inner + "." + leaf;
    }

    private String inner(String name) {
        boolean mixtral = type.equals("mixtral");
        boolean sandwich = type.equals("gemma2") || type.equals("gemma3_text");
        return switch (name) {
            case "ffn_norm" -> sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm";
            case "ffn_up" -> type.equals("phi3") ? "mlp.gate_up_proj" : "mlp.up_proj";
            case "ffn_gate_inp" -> mixtral
                    ? "block_sparse_moe.gate"
                    : type.equals("gpt_oss") ? "mlp.router" : "mlp.gate";
            case "ffn_gate_exps" -> mixtral ? "block_sparse_moe.experts.w1" : "mlp.experts.gate_proj";
            case "ffn_up_exps" -> mixtral ? "block_sparse_moe.experts.w3" : "mlp.experts.up_proj";
            case "ffn_down_exps" -> mixtral ? "block_sparse_moe.experts.w2" : "mlp.experts.down_proj";
            case "ffn_gate_inp_shexp" -> "mlp.shared_expert_gate";
            case "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp" -> (type.equals("qwen2_moe")
                            ? "mlp.shared_expert."
                            : "mlp.shared_experts.")
                    + name.substring(4, name.length() - 6) + "_proj";
            case "exp_probs_b" -> "mlp.gate.e_score_correction_bias";
            case "attn_sinks" -> "self_attn.sinks";
            default -> INNER.getOrDefault(name, name);
        };
    }

    private long integer(String key, long otherwise) {
        return file.integer(architecture + "." + key).orElse(otherwise);
    }

    private long required(String key) {
        return file.integer(architecture + "." + key)
                .orElseThrow(() -> new IllegalArgumentException(
                        "Cannot open model %s: key '%s.%s' is missing".formatted(file.path(), architecture, key)));
    }

    private void copyInt(ObjectNode config, String key, String from) {
        file.integer(architecture + "." + from).ifPresent(value -> config.put(key, value));
    }

    private void copyReal(ObjectNode config, String key, String from) {
        file.real(architecture + "." + from).ifPresent(value -> config.put(key, value));
    }

    ConfigNode config() {
        ObjectNode config = new ObjectMapper().createObjectNode().put("model_type", type);
        long hidden = required("embedding_length");
        long heads = required("attention.head_count");
        config.put("num_hidden_layers", required("block_count"));
        config.put("hidden_size", hidden).put("num_attention_heads", heads);
        copyInt(config, "num_key_value_heads", "attention.head_count_kv");
        long headDim = integer("attention.key_length", hidden / heads);
        config.put("head_dim", headDim);
        copyInt(config, "intermediate_size", "feed_forward_length");
        copyInt(config, "max_position_embeddings", "context_length");
        copyReal(config, "rms_norm_eps", "attention.layer_norm_rms_epsilon");
        copyReal(config, "rope_theta", "rope.freq_base");
        copyInt(config, "sliding_window", "attention.sliding_window");
        copyReal(config, "attn_logit_softcapping", "attn_logit_softcapping");
        copyReal(config, "final_logit_softcapping", "final_logit_softcapping");
        long[] embedding = file.shape("token_embd.weight");
        long pieces = file.list("tokenizer.ggml.tokens", String.class).size();
        config.put("vocab_size", embedding == null ? pieces : embedding[0]);
        config.put("tie_word_embeddings", !file.hasTensor("output.weight"));
        // The converters of these put the pairs of a rotation beside each other, and the 1 of Gemma's norms into its
        // weights.
        config.put("rope_interleaved", architecture.equals("llama"));
        config.put("norm_weight_offset", 0);
        config.put("hidden_act", type.equals("gemma") ? "gelu_pytorch_tanh" : "silu");
        experts(config);
        latentAttention(config);
        rope(config, headDim);
        return ConfigNode.of(config, file.path().toString());
    }

    private void experts(ObjectNode config) {
        String count =
                switch (type) {
                    case "mixtral", "gpt_oss" -> "num_local_experts";
                    case "deepseek_v2", "deepseek_v3" -> "n_routed_experts";
                    default -> "num_experts";
                };
        if (integer("expert_count", 0) == 0) {
            return;
        }
        copyInt(config, count, "expert_count");
        copyInt(config, "num_experts_per_tok", "expert_used_count");
        copyInt(config, "moe_intermediate_size", "expert_feed_forward_length");
        copyInt(config, "shared_expert_intermediate_size", "expert_shared_feed_forward_length");
        copyInt(config, "n_shared_experts", "expert_shared_count");
        copyInt(config, "first_k_dense_replace", "leading_dense_block_count");
        copyInt(config, "n_group", "expert_group_count");
        copyInt(config, "topk_group", "expert_group_used_count");
        copyReal(config, "routed_scaling_factor", "expert_weights_scale");
        ArrayNode dense = config.putArray("mlp_only_layers");
        for (int i = 0; i < required("block_count"); i++) {
            if (!file.hasTensor("blk." + i + ".ffn_gate_inp.weight")) {
                dense.add(i);
            }
        }
        boolean norm = file.flag(architecture + ".expert_weights_norm").orElse(type.equals("qwen3_moe"));
        config.put("norm_topk_prob", norm);
        if (integer("expert_group_count", 1) > 1) {
            config.put("topk_method", "group_limited_greedy");
        }
        if (type.equals("gpt_oss") || type.equals("olmoe")) {
            copyInt(config, "intermediate_size", "expert_feed_forward_length");
        }
    }

    private void latentAttention(ObjectNode config) {
        if (!architecture.equals("deepseek2")) {
            return;
        }
        long rotary = required("rope.dimension_count");
        long width = integer("attention.key_length_mla", integer("attention.key_length", 0));
        copyInt(config, "q_lora_rank", "attention.q_lora_rank");
        copyInt(config, "kv_lora_rank", "attention.kv_lora_rank");
        config.put("qk_rope_head_dim", rotary).put("qk_nope_head_dim", width - rotary);
        config.put("v_head_dim", integer("attention.value_length_mla", integer("attention.value_length", 0)));
    }

    private void rope(ObjectNode config, long headDim) {
        long rotary = integer("rope.dimension_count", headDim);
        if (rotary < headDim && !architecture.equals("deepseek2")) {
            config.put("partial_rotary_factor", (double) rotary / headDim);
        }
        putAll(config, "rope_frequency_factors", "rope_freqs.weight");
        String kind = file.text(architecture + ".rope.scaling.type").orElse("none");
        double factor = file.real(architecture + ".rope.scaling.factor").orElse(1.0);
        if (file.hasTensor("rope_factors_long.weight")) {
            ObjectNode scaling = config.putObject("rope_scaling").put("rope_type", "longrope");
            putAll(scaling, "long_factor", "rope_factors_long.weight");
            putAll(scaling, "short_factor", "rope_factors_short.weight");
            copyReal(scaling, "attention_factor", "rope.scaling.attn_factor");
            copyInt(config, "original_max_position_embeddings", "rope.scaling.original_context_length");
        } else if (kind.equals("linear") || kind.equals("yarn")) {
            ObjectNode scaling =
                    config.putObject("rope_scaling").put("rope_type", kind).put("factor", factor);
            copyInt(scaling, "original_max_position_embeddings", "rope.scaling.original_context_length");
            scaling.put("truncate", !type.equals("gpt_oss"));
            file.real(architecture + ".rope.scaling.yarn_log_multiplier")
                    .ifPresent(multiplier ->
                            scaling.put("mscale", multiplier * 10).put("mscale_all_dim", multiplier * 10));
        }
    }

    private void putAll(ObjectNode node, String key, String tensor) {
        long[] shape = file.shape(tensor);
        if (shape != null) {
            ArrayNode list = node.putArray(key);
            for (float value : file.values(tensor)) {
                list.add(value);
            }
        }
    }

    Set<Integer> endTokens() {
        Set<Integer> ends = new TreeSet<>();
        for (String name : List.of("eos_token_id", "eot_token_id", "eom_token_id")) {
            file.integer("tokenizer.ggml." + name).ifPresent(id -> ends.add(id.intValue()));
        }
        return ends;
    }

    String token(String name) {
        List<String> pieces = file.list("tokenizer.ggml.tokens", String.class);
        long id = file.integer("tokenizer.ggml." + name).orElse(-1L);
        return id >= 0 && id < pieces.size() ? pieces.get((int) id) : "";
    }

    /** The file's vocabulary, or null where it has none. */
    static @Nullable Tokenizer tokenizer(Gguf file) {
        List<String> pieces = file.list("tokenizer.ggml.tokens", String.class);
        if (pieces.isEmpty()) {
            return null;
        }
        String kind = file.text("tokenizer.ggml.model").orElse("llama");
        List<Double> scoreList = file.list("tokenizer.ggml.scores", Double.class);
        float[] scores = new float[scoreList.size()];
        for (int i = 0; i < scores.length; i++) {
            scores[i] = scoreList.get(i).floatValue();
        }
        List<Long> types = file.list("tokenizer.ggml.token_type", Long.class);
        Vocabulary.Kind[] kinds = new Vocabulary.Kind[pieces.size()];
        for (int i = 0; i < kinds.length; i++) {
            kinds[i] = types.isEmpty()
                    ? Vocabulary.Kind.NORMAL
                    : Vocabulary.Kind.of(types.get(i).intValue());
        }
        boolean begins = file.flag("tokenizer.ggml.add_bos_token").orElse(kind.equals("llama"));
        boolean ends = file.flag("tokenizer.ggml.add_eos_token").orElse(false);
        Vocabulary vocabulary = new Vocabulary(
                pieces,
                scores,
                kinds,
                file.list("tokenizer.ggml.merges", String.class),
                begins ? id(file, "bos_token_id") : -1,
                ends ? id(file, "eos_token_id") : -1,
                id(file, "unknown_token_id"));
        boolean prefix = file.flag("tokenizer.ggml.add_space_prefix").orElse(true);
        String pre = file.text("tokenizer.ggml.pre").orElse("default");
        byte[] json =
                switch (kind) {
                    case "llama" -> TokenizerJson.sentencePieceBpe(vocabulary, prefix, null);
                    case "t5" -> TokenizerJson.unigram(vocabulary, prefix, null);
                    case "gpt2" -> TokenizerJson.byteLevel(
                            vocabulary, PreTokenizers.patterns(pre), PreTokenizers.ignoresMerges(pre), false);
                    case "bert" -> TokenizerJson.wordPiece(vocabulary);
                    default -> throw new IllegalArgumentException(
                            "Cannot use the tokenizer '%s' of %s, known are llama, t5, gpt2, bert"
                                    .formatted(kind, file.path()));
                };
        return new HuggingFaceTokenizer(json, pieces.size());
    }

    private static int id(Gguf file, String name) {
        return file.integer("tokenizer.ggml." + name).orElse(-1L).intValue();
    }
}
