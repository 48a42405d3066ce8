package io.nightmill.pipeline;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * What a row's answer depends on, as a hash: equal fingerprints have equal answers. Of a run: the model's content, the precisions,
 * what is asked and reported, and {@link #NUMERICS}. Of a row: its id, its tokens, its own sampling parameters over the job's, and
 * the columns it carries.
 */
final class Fingerprint {
    /** To be raised whenever a change of ours changes results. */
    static final int NUMERICS = 2;

    private static final int LENGTH = 32;
    private static final ObjectMapper SORTED =
            new ObjectMapper().enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS);

    private final MessageDigest digest;

    private Fingerprint() {
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** @param model {@link ModelFiles#contentHash} */
    static String ofRun(Plan.Kind kind, String model, RunConfig config) {
        return new Fingerprint()
                .add(Integer.toString(NUMERICS))
                .add(kind.name())
                .add(model)
                .add(config.model().precision().name())
                .add(config.model().limits().kvType().name())
                .add(config.model().device().kind().name())
                .add(Integer.toString(config.topLogprobs()))
                .add(Boolean.toString(config.returnTokenIds()))
                .add(String.join(",", config.keepColumns()))
                .end();
    }

    /** The lengths before the parts keep one row's parts from being another's. */
    static String ofRow(
            Plan plan,
            String id,
            int[] prompt,
            List<int[]> continuations,
            @Nullable String own,
            byte @Nullable [] keep) {
        Fingerprint row = new Fingerprint().add(plan.fingerprint()).add(id);
        row.addContent(plan, prompt, continuations, own);
        row.digest.update(keep == null ? new byte[0] : keep);
        return row.end();
    }

    /** What a row asks, whoever asks it: rows of equal content have equal answers where nothing is drawn at random. */
    static String ofContent(Plan plan, PlannedRow row) {
        Fingerprint content = new Fingerprint();
        content.addContent(plan, row.prompt(), row.continuations(), row.sampling());
        return content.end();
    }

    private void addContent(Plan plan, int[] prompt, List<int[]> continuations, @Nullable String own) {
        add(own == null ? plan.sampling() : merged(plan.sampling(), own));
        add(prompt);
        digest.update(ByteBuffer.allocate(4).putInt(continuations.size()).flip());
        continuations.forEach(this::add);
    }

    /** A row that cannot run has only its reason. */
    static String ofFailure(Plan plan, String id, String message) {
        return new Fingerprint().add(plan.fingerprint()).add(id).add(message).end();
    }

    /** Parameters as JSON in the order of their names. */
    static String sorted(String sampling) {
        return merged(sampling, "{}");
    }

    /** The row's parameters over the job's, which are sorted, in the order of their names. */
    private static String merged(String job, String own) {
        try {
            Map<Object, Object> all = new TreeMap<>(SORTED.readValue(job, Map.class));
            all.putAll(SORTED.readValue(own, Map.class));
            return SORTED.writeValueAsString(all);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("Cannot read the sampling parameters: " + e.getOriginalMessage(), e);
        }
    }

    private Fingerprint add(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        digest.update(ByteBuffer.allocate(4).putInt(bytes.length).flip());
        digest.update(bytes);
        return this;
    }

    private void add(int[] tokens) {
        ByteBuffer bytes = ByteBuffer.allocate(4 + 4 * tokens.length).putInt(tokens.length);
        for (int token : tokens) {
            bytes.putInt(token);
        }
        digest.update(bytes.flip());
    }

    private String end() {
        return HexFormat.of().formatHex(digest.digest()).substring(0, LENGTH);
    }
}
