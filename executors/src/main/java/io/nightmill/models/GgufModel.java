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
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** A GGUF file in the terms of Hugging Face's layout: its keys as a config.json, its tensors under their names there. */
final class GgufModel {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    /** More than any model has; what a file says is not to be counted to. */
    private static final int MOST_LAYERS = 1 << 14;

    private final Gguf file;
    private final String architecture;
    private final String type;
    private final GgufArchitecture names;

    GgufModel(Gguf file) {
        this.file = file;
        this.architecture = file.text("general.architecture")
                .orElseThrow(() -> new IllegalArgumentException(
                        "Cannot open model " + file.path() + ": key 'general.architecture' is missing"));
        List<GgufArchitecture> candidates = GgufArchitecture.ALL.stream()
                .filter(candidate -> candidate.name().equals(architecture))
                .toList();
        if (candidates.isEmpty()) {
            throw new IllegalArgumentException("Cannot build architecture '%s' of %s, supported in GGUF are %s"
                    .formatted(
                            architecture,
                            file.path(),
                            GgufArchitecture.ALL.stream()
                                    .map(GgufArchitecture::name)
                                    .distinct()
                                    .sorted()
                                    .toList()));
        }
        this.names = candidates.get(candidates.size() > 1 && isSecond() ? 1 : 0);
        this.type = names.type();
    }

    /** Whether a file is of the second type that its architecture may become. */
    private boolean isSecond() {
        return switch (architecture) {
            case "llama" -> integer("expert_count", 0) > 0;
            case "deepseek2" -> file.hasTensor("blk." + integer("leading_dense_block_count", 0) + ".exp_probs_b.bias");
            case "mamba" -> file.flag(architecture + ".ssm.dt_b_c_rms").orElse(false);
            default -> throw new IllegalStateException(architecture);
        };
    }

    /** The architectures that become a model type, sorted. */
    static List<String> architectures(String type) {
        return GgufArchitecture.ALL.stream()
                .filter(candidate -> candidate.type().equals(type))
                .map(GgufArchitecture::name)
                .sorted()
                .toList();
    }

    Checkpoint checkpoint(Backend backend) {
        return file.checkpoint(this::rename, backend);
    }

    /** The name that the family reads a tensor by; null for tables that are part of the configuration, and for what is not run. */
    @Nullable
    String rename(String name) {
        if (name.equals("rope_freqs.weight") || name.startsWith("rope_factors_") || isFurther(name)) {
            return null;
        }
        return names.rename(name);
    }

    private boolean isFurther(String name) {
        String[] parts = name.split("\\.", 3);
        return integer("nextn_predict_layers", 0) > 0
                && parts.length == 3
                && parts[0].equals("blk")
                && Integer.parseInt(parts[1]) >= layers();
    }

    private long integer(String key, long otherwise) {
        return file.integer(architecture + "." + key).orElse(otherwise);
    }

    private long required(String key) {
        return file.integer(architecture + "." + key)
                .orElseThrow(() -> new IllegalArgumentException(
                        "Cannot open model %s: key '%s.%s' is missing".formatted(file.path(), architecture, key)));
    }

    private void copy(ObjectNode config, String key, String from) {
        file.value(architecture + "." + from).ifPresent(value -> config.set(key, MAPPER.valueToTree(value)));
    }

    /** A number, or the largest of a list that has one for each layer. */
    private OptionalLong largest(String key) {
        return file.list(architecture + "." + key, Long.class).stream()
                .mapToLong(Long::longValue)
                .max();
    }

    /** Layers without those that only predict further tokens, which come last. */
    private int layers() {
        long blocks = required("block_count");
        long further = integer("nextn_predict_layers", 0);
        if (blocks < 0 || blocks > MOST_LAYERS || further < 0 || further > blocks) {
            throw new IllegalArgumentException("Cannot open model %s: key '%s.block_count' is %s, expected up to %d"
                    .formatted(file.path(), architecture, Long.toUnsignedString(blocks), MOST_LAYERS));
        }
        return (int) (blocks - further);
    }

    ConfigNode config() {
        ObjectNode config = MAPPER.createObjectNode().put("model_type", type);
        long hidden = required("embedding_length");
        long heads = largest("attention.head_count").orElse(0);
        config.put("num_hidden_layers", layers());
        config.put("hidden_size", hidden);
        largest("feed_forward_length").ifPresent(size -> config.put("intermediate_size", size));
        copy(config, "max_position_embeddings", "context_length");
        copy(config, "rms_norm_eps", "attention.layer_norm_rms_epsilon");
        copy(config, "rope_theta", "rope.freq_base");
        copy(config, "sliding_window", "attention.sliding_window");
        copy(config, "attn_logit_softcapping", "attn_logit_softcapping");
        copy(config, "final_logit_softcapping", "final_logit_softcapping");
        names.keys().forEach((key, from) -> copy(config, key, from));
        if (heads > 0) {
            config.put("num_attention_heads", heads);
            long keyHeads = largest("attention.head_count_kv").orElse(0);
            if (keyHeads > 0) {
                config.put("num_key_value_heads", keyHeads);
            }
            long headDim = integer("attention.key_length", hidden / heads);
            config.put("head_dim", headDim);
            rope(config, headDim);
        }
        long[] embedding = file.shape("token_embd.weight");
        long pieces = file.list("tokenizer.ggml.tokens", String.class).size();
        config.put("vocab_size", embedding == null ? pieces : embedding[0]);
        config.put("tie_word_embeddings", !file.hasTensor("output.weight"));
        // The converters of these put the pairs of a rotation beside each other, and the 1 of Gemma's norms into its
        // weights.
        config.put("rope_interleaved", architecture.equals("llama") || architecture.startsWith("granite"));
        config.put("norm_weight_offset", 0);
        config.put("hidden_act", type.equals("gemma") ? "gelu_pytorch_tanh" : "silu");
        if (integer("expert_count", 0) > 0) {
            experts(config);
        }
        if (config.has("kv_lora_rank")) {
            latentAttention(config);
        }
        mixers(config);
        return ConfigNode.of(config, file.path().toString());
    }

    private void experts(ObjectNode config) {
        ArrayNode dense = config.putArray("mlp_only_layers");
        for (int i = 0; i < layers(); i++) {
            if (!file.hasTensor("blk." + i + ".ffn_gate_inp.weight")) {
                dense.add(i);
            }
        }
        if (!config.has("norm_topk_prob")) {
            config.put(
                    "norm_topk_prob",
                    Set.of("qwen3_moe", "qwen3_next", "lfm2_moe").contains(type));
        }
        if (integer("expert_group_count", 1) > 1) {
            config.put("topk_method", "group_limited_greedy");
        }
        if (type.equals("gpt_oss") || type.equals("olmoe")) {
            copy(config, "intermediate_size", "expert_feed_forward_length");
        }
    }

    /** What each layer mixes with: those without key and value heads are recurrent. */
    private void mixers(ObjectNode config) {
        List<Long> keyHeads = file.list(architecture + ".attention.head_count_kv", Long.class);
        if (keyHeads.contains(0L)) {
            boolean blocks = type.equals("nemotron_h");
            ArrayNode kinds = config.putArray(blocks ? "layers_block_type" : "layer_types");
            for (int i = 0; i < keyHeads.size(); i++) {
                String mixer = keyHeads.get(i) > 0 ? "full_attention" : "linear_attention";
                boolean feeds = blocks && file.hasTensor("blk." + i + ".ffn_up.weight");
                boolean routes = blocks && file.hasTensor("blk." + i + ".ffn_up_exps.weight");
                kinds.add(routes ? "moe" : feeds ? "mlp" : mixer);
            }
        }
        List<Boolean> recurrent = file.list(architecture + ".attention.recurrent_layers", Boolean.class);
        if (!recurrent.isEmpty() && !config.has("layer_types")) {
            ArrayNode kinds = config.putArray("layer_types");
            recurrent.stream().limit(layers()).forEach(one -> kinds.add(one ? "linear_attention" : "full_attention"));
        }
        long width = integer("ssm.inner_size", 0);
        long heads = Math.max(1, integer("ssm.time_step_rank", 1));
        switch (type) {
            case "mamba2" -> config.put("head_dim", width / heads);
            case "nemotron_h" -> config.put("mamba_head_dim", width / heads);
            case "qwen3_next" -> config.put("linear_value_head_dim", width / heads);
            case "falcon_h1" -> config.put("mamba_norm_before_gate", false)
                    .put("mamba_rms_norm", file.hasTensor("blk.0.ssm_norm.weight"));
            case "lfm2" -> config.put("block_auto_adjust_ff_dim", false);
            case "granitemoehybrid" -> granite(config);
            case "kimi_linear" -> kimi(config, keyHeads);
            default -> {}
        }
    }

    private void granite(ObjectNode config) {
        boolean turns = file.flag(architecture + ".rope.scaling.finetuned").orElse(true);
        config.put("position_embedding_type", turns ? "rope" : "nope");
        if (!config.has("layer_types")) {
            ArrayNode kinds = config.putArray("layer_types");
            for (int i = 0; i < layers(); i++) {
                kinds.add("full_attention");
            }
        }
        if (!config.has("shared_intermediate_size")) {
            boolean shares = integer("expert_count", 0) == 0 || file.hasTensor("blk.0.ffn_gate_shexp.weight");
            config.put(
                    "shared_intermediate_size",
                    shares ? config.get("intermediate_size").asLong() : 0);
        }
        if (!config.has("attention_multiplier")) {
            config.put(
                    "attention_multiplier", 1 / Math.sqrt(config.get("head_dim").asDouble()));
        }
    }

    private void kimi(ObjectNode config, List<Long> keyHeads) {
        ObjectNode linear = config.putObject("linear_attn_config");
        linear.set("num_heads", config.get("num_attention_heads"));
        copy(linear, "head_dim", "kda.head_dim");
        copy(linear, "short_conv_kernel_size", "ssm.conv_kernel");
        ArrayNode delta = linear.putArray("kda_layers");
        for (int i = 0; i < keyHeads.size(); i++) {
            if (keyHeads.get(i) == 0) {
                delta.add(i + 1);
            }
        }
    }

    private void latentAttention(ObjectNode config) {
        long rotary = required("rope.dimension_count");
        long width = integer("attention.key_length_mla", integer("attention.key_length", 0));
        config.put("qk_rope_head_dim", rotary).put("qk_nope_head_dim", width - rotary);
        config.put("v_head_dim", integer("attention.value_length_mla", integer("attention.value_length", 0)));
    }

    private void rope(ObjectNode config, long headDim) {
        long rotary = integer("rope.dimension_count", headDim);
        if (rotary < headDim && !config.has("kv_lora_rank")) {
            config.put("partial_rotary_factor", (double) rotary / headDim);
        }
        putAll(config, "rope_frequency_factors", "rope_freqs.weight");
        String kind = file.text(architecture + ".rope.scaling.type").orElse("none");
        double factor = file.real(architecture + ".rope.scaling.factor").orElse(1.0);
        if (file.hasTensor("rope_factors_long.weight")) {
            ObjectNode scaling = config.putObject("rope_scaling").put("rope_type", "longrope");
            putAll(scaling, "long_factor", "rope_factors_long.weight");
            putAll(scaling, "short_factor", "rope_factors_short.weight");
            copy(scaling, "attention_factor", "rope.scaling.attn_factor");
            copy(config, "original_max_position_embeddings", "rope.scaling.original_context_length");
        } else if (kind.equals("linear") || kind.equals("yarn")) {
            ObjectNode scaling =
                    config.putObject("rope_scaling").put("rope_type", kind).put("factor", factor);
            copy(scaling, "original_max_position_embeddings", "rope.scaling.original_context_length");
            copy(scaling, "beta_fast", "rope.scaling.yarn_beta_fast");
            copy(scaling, "beta_slow", "rope.scaling.yarn_beta_slow");
            scaling.put(
                    "truncate",
                    file.flag(architecture + ".rope.scaling.yarn_truncate").orElse(!type.equals("gpt_oss")));
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
