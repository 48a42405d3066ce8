package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.nightmill.engine.Completion;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.TokenScores;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.HostBackend;
import io.nightmill.layers.Decoder;
import io.nightmill.tensor.Format;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.GgufWriter;
import io.nightmill.weights.SyntheticWeights;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The families that no reference could be run for, on random weights: log-probabilities equal those of the paper's formulas,
 * written down in float64 over whole sequences ({@link PaperModels}), and do not depend on how prompts are cut.
 */
class UnprovenFamiliesTest {
    private static final Pattern OPTIONAL = Pattern.compile(
            ".*(A_log(\\.0)?|dt_proj\\.0\\.bias|\\.[ab]_proj\\.bias|[if]gate_preact\\.bias|[qk]_conv1d\\.weight|conv1d\\.bias)");

    /** A configuration of each family, and the formulas for it. */
    private record Case(String name, String config, Paper paper) {
        @Override
        public String toString() {
            return name;
        }

        ConfigNode node() {
            try {
                return ConfigNode.of(new ObjectMapper().readTree(config), name);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    private interface Paper {
        /** Logits {@code [tokens, vocabulary]}. */
        double[][] logits(PaperModels models, int[] tokens);
    }

    static Stream<Case> cases() {
        return Stream.of(
                new Case(
                        "xlstm",
                        """
                        {"model_type": "xlstm", "hidden_size": 32, "num_hidden_layers": 2, "num_heads": 2,
                         "qk_dim_factor": 0.5, "v_dim_factor": 1.0, "ffn_proj_factor": 2.667,
                         "ffn_round_up_to_multiple_of": 8, "gate_soft_cap": 15.0, "output_logit_soft_cap": 30.0,
                         "norm_eps": 1e-6, "vocab_size": 50}""",
                        PaperModels::xlstm),
                new Case(
                        "plamo2",
                        """
                        {"model_type": "plamo2", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
                         "num_key_value_heads": 2, "hidden_size_per_head": 8, "mamba_num_heads": 6, "mamba_d_state": 10,
                         "mamba_d_conv": 4, "mamba_step": 2, "intermediate_size": 40, "attention_window_size": 9,
                         "full_attention_idx": [3], "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "vocab_size": 50}""",
                        PaperModels::plamo2),
                new Case(
                        "hymba",
                        """
                        {"model_type": "hymba", "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4,
                         "num_key_value_heads": 2, "v_head_dim": 12, "mamba_expand": 2, "mamba_d_state": 6, "mamba_d_conv": 4,
                         "mamba_dt_rank": 5, "num_memory_tokens": 19, "sliding_window": 8, "global_attn_idx": [0],
                         "kv_reuse_group": [[1, 2]], "intermediate_size": 40, "rope_theta": 10000.0,
                         "rms_norm_eps": 1e-6, "vocab_size": 50}""",
                        PaperModels::hymba));
    }

    private static final int[] LENGTHS = {1, 7, 37, 70};

    private static int[] prompt(int length) {
        return new Random(length).ints(length, 0, 50).toArray();
    }

    private static Map<Integer, TokenScores> scores(Case model, Limits limits) {
        Backend backend = new HostBackend(2);
        SyntheticWeights weights = new SyntheticWeights(backend, Format.F32, OPTIONAL);
        return scores(backend, ModelLoader.build(model.node(), weights), limits);
    }

    private static Map<Integer, TokenScores> scores(Backend backend, Decoder decoder, Limits limits) {
        Map<Integer, TokenScores> scores = new TreeMap<>();
        try (ContinuousEngine engine = new ContinuousEngine(backend, decoder, null, Set.of(), 512, limits)) {
            for (int length : LENGTHS) {
                engine.submit(new Request("" + length, prompt(length), new Request.Ask.Score(List.of(), 0)));
            }
            while (!engine.idle()) {
                for (Completion done : engine.step()) {
                    assertThat(done.failure()).isNull();
                    scores.put(Integer.valueOf(done.request().id()), done.prompt());
                }
            }
        }
        return scores;
    }

    @ParameterizedTest
    @MethodSource("cases")
    void logprobsFollowThePaper(Case model) {
        PaperModels models = new PaperModels(model.node(), OPTIONAL);
        Map<Integer, TokenScores> scores = scores(model, new Limits(1 << 24, 8, 33));
        for (int length : LENGTHS) {
            int[] tokens = prompt(length);
            double[][] logits = model.paper.logits(models, tokens);
            for (int t = 1; t < length; t++) {
                double sum = 0;
                for (double logit : logits[t - 1]) {
                    sum += Math.exp(logit);
                }
                assertThat((double) scores.get(length).logprob(t - 1))
                        .as("token %d of %d", t, length)
                        .isCloseTo(logits[t - 1][tokens[t]] - Math.log(sum), within(2e-4));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void prefillDoesNotDependOnChunks(Case model) {
        List<Float> whole = flat(scores(model, new Limits(1 << 24, 8, 1024)));
        assertThat(flat(scores(model, new Limits(1 << 24, 2, 23)))).isEqualTo(whole);
        assertThat(flat(scores(model, new Limits(1 << 24, 1, 1)))).isEqualTo(whole);
    }

    private static List<Float> flat(Map<Integer, TokenScores> scores) {
        List<Float> all = new ArrayList<>();
        for (TokenScores one : scores.values()) {
            for (int i = 0; i < one.size(); i++) {
                all.add(one.logprob(i));
            }
        }
        return all;
    }

    /** The same weights under llama.cpp's names, with what its converter adds to norms and does to rates. */
    @Test
    void plamo2IsReadFromGguf(@TempDir Path temp) throws IOException {
        Case windowed =
                cases().filter(model -> model.name.equals("plamo2")).findFirst().orElseThrow();
        String config = windowed.config.replace("\"attention_window_size\": 9,", "");
        Case model = new Case("plamo2", config, windowed.paper);
        SyntheticWeights weights = new SyntheticWeights(new HostBackend(1), Format.F32, OPTIONAL);
        GgufWriter writer = new GgufWriter();
        writer.put("general.architecture", "plamo2").put("plamo2.block_count", 4L);
        writer.put("plamo2.embedding_length", 32L).put("plamo2.feed_forward_length", 40L);
        writer.put("plamo2.context_length", 512L).put("plamo2.rope.freq_base", 10000.0);
        writer.put("plamo2.attention.head_count", List.of(0L, 4L, 0L, 4L));
        writer.put("plamo2.attention.head_count_kv", List.of(0L, 2L, 0L, 2L));
        writer.put("plamo2.attention.key_length", 8L).put("plamo2.attention.value_length", 8L);
        writer.put("plamo2.attention.layer_norm_rms_epsilon", 1e-6);
        writer.put("plamo2.ssm.inner_size", 48L).put("plamo2.ssm.state_size", 10L);
        writer.put("plamo2.ssm.conv_kernel", 4L)
                .put("plamo2.ssm.time_step_rank", 6L)
                .put("plamo2.ssm.group_count", 0L);
        copy(writer, weights, "token_embd.weight", "model.embed_tokens.weight", 0, 50, 32);
        copy(writer, weights, "output_norm.weight", "model.norm.weight", 1, 32);
        for (int i = 0; i < 4; i++) {
            String to = "blk." + i + ".";
            String from = "model.layers.layers." + i + ".";
            copy(writer, weights, to + "attn_norm.weight", from + "pre_mixer_norm.weight", 1, 32);
            copy(writer, weights, to + "post_attention_norm", from + "post_mixer_norm.weight", 0.2, 32);
            copy(writer, weights, to + "ffn_norm.weight", from + "pre_mlp_norm.weight", 1, 32);
            copy(writer, weights, to + "post_ffw_norm", from + "post_mlp_norm.weight", Math.pow(5, -1.5), 32);
            copy(writer, weights, to + "ffn_up.weight", from + "mlp.gate_up_proj.weight", 0, 80, 32);
            copy(writer, weights, to + "ffn_down.weight", from + "mlp.down_proj.weight", 0, 32, 40);
            if (i % 2 == 1) {
                copy(writer, weights, to + "attn_qkv.weight", from + "mixer.qkv_proj.weight", 0, 64, 32);
                copy(writer, weights, to + "attn_q_norm.weight", from + "mixer.q_weight", 0, 4, 8);
                copy(writer, weights, to + "attn_k_norm.weight", from + "mixer.k_weight", 0, 2, 8);
                copy(writer, weights, to + "attn_output.weight", from + "mixer.o_proj.weight", 0, 32, 32);
                continue;
            }
            copy(writer, weights, to + "ssm_in.weight", from + "mixer.in_proj.weight", 0, 96, 32);
            copy(writer, weights, to + "ssm_conv1d.weight", from + "mixer.conv1d.weight", 0, 48, 4);
            copy(writer, weights, to + "ssm_conv1d.bias", from + "mixer.conv1d.bias", 0, 48);
            copy(writer, weights, to + "ssm_x.weight", from + "mixer.bcdt_proj.weight", 0, 84, 48);
            copy(writer, weights, to + "ssm_dt.weight", from + "mixer.dt_proj.weight", 0, 6, 64);
            copy(writer, weights, to + "ssm_dt.bias", from + "mixer.dt_bias", 0, 6);
            copy(writer, weights, to + "ssm_dt_norm", from + "mixer.dt_norm_weight", 0, 64);
            copy(writer, weights, to + "ssm_b_norm", from + "mixer.B_norm_weight", 0, 10);
            copy(writer, weights, to + "ssm_c_norm", from + "mixer.C_norm_weight", 0, 10);
            copy(writer, weights, to + "ssm_a", from + "mixer.A_log", 0, 6);
            copy(writer, weights, to + "ssm_d", from + "mixer.D", 0, 6);
            copy(writer, weights, to + "ssm_out.weight", from + "mixer.out_proj.weight", 0, 32, 48);
        }
        Path file = temp.resolve("plamo2.gguf");
        writer.write(file);
        Backend backend = new HostBackend(2);
        Decoder fromFile = ModelLoader.load(file, backend).decoder();
        Limits limits = new Limits(1 << 24, 8, 33);
        assertThat(flat(scores(backend, fromFile, limits))).isEqualTo(flat(scores(model, limits)));
    }

    private static void copy(
            GgufWriter writer, SyntheticWeights weights, String to, String from, double offset, int... shape) {
        // Small tensors and matrices are not drawn alike.
        boolean small = shape.length == 1 || from.endsWith("conv1d.weight") || from.matches(".*mixer\\.[qk]_weight");
        float[] values = new float[Arrays.stream(shape).reduce(1, Math::multiplyExact)];
        if (small) {
            System.arraycopy(weights.values(from, shape), 0, values, 0, values.length);
        } else {
            ByteBuffer data = weights.matrix(from, shape[0], shape[1]).panels().get(0);
            data.duplicate().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        }
        for (int i = 0; i < values.length; i++) {
            values[i] = to.endsWith("ssm_a") ? (float) -Math.exp(values[i]) : values[i] + (float) offset;
        }
        writer.tensor(to, values, Arrays.stream(shape).asLongStream().toArray());
    }

    @Test
    void allOfThemAreTested() {
        assertThat(Families.listings().stream()
                        .filter(listing -> !listing.isProven())
                        .map(Families.Listing::modelType))
                .containsExactlyInAnyOrderElementsOf(cases().map(Case::name).toList());
    }
}
