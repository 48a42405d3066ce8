package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Token ids to hidden rows to logits.
 *
 * @param embeddingScale factor on the embedded rows
 * @param lead rows of the embedding that stand before every prompt and are no tokens of the vocabulary (Hymba's meta tokens)
 * @param embeddingNorm of the embedded rows, or null
 * @param ropes the rotary tables that the layers share
 * @param logitScale factor on the logits
 * @param softcap {@code cap * tanh(logit / cap)}; 0 is none
 */
public record Decoder(
        Matrix embedding,
        int[] lead,
        float embeddingScale,
        @Nullable Norm embeddingNorm,
        List<Branch> branches,
        Set<Rope> ropes,
        Norm norm,
        Linear head,
        float logitScale,
        float softcap) {

    /** Without leading rows. */
    public Decoder(
            Matrix embedding,
            float embeddingScale,
            @Nullable Norm embeddingNorm,
            List<Branch> branches,
            Set<Rope> ropes,
            Norm norm,
            Linear head,
            float logitScale,
            float softcap) {
        this(embedding, new int[0], embeddingScale, embeddingNorm, branches, ropes, norm, head, logitScale, softcap);
    }

    public Decoder {
        branches = List.copyOf(branches);
        ropes = Set.copyOf(ropes);
    }

    public int hidden() {
        return embedding.in();
    }

    public int vocabulary() {
        return head.out();
    }

    /** Which rotary frequencies a sequence of so many tokens has; see {@link Rope#regime}. */
    public int regime(int length) {
        return ropes.stream()
                .mapToInt(rope -> rope.regime().applyAsInt(length))
                .max()
                .orElse(0);
    }

    /** What each branch remembers, in order. */
    public List<List<State.Spec>> states() {
        return branches.stream().map(branch -> branch.layer().states()).toList();
    }

    /** Values of experts' weights that a token does not meet. */
    public long idleValues() {
        return mixtures().mapToLong(MixtureOfExperts::idleValues).sum();
    }

    /** Values of all experts' weights. */
    public long expertValues() {
        return mixtures().mapToLong(mixture -> mixture.experts().values()).sum();
    }

    /** The part of a layer's experts that a token meets, where it is smallest; 1 without experts. */
    public double expertShare() {
        return mixtures().mapToDouble(MixtureOfExperts::share).min().orElse(1);
    }

    private Stream<MixtureOfExperts> mixtures() {
        return branches.stream()
                .map(Branch::layer)
                .filter(MixtureOfExperts.class::isInstance)
                .map(MixtureOfExperts.class::cast);
    }

    /**
     * Advances the states by the step's tokens.
     *
     * @param states per branch, as {@link #states} lists them
     * @return the normalized hidden rows {@code [tokens, hidden]}
     */
    public Tensor forward(List<List<State>> states, Step step) {
        Backend backend = step.backend();
        ropes.forEach(step::prepare);
        Tensor x = step.rows(hidden());
        backend.embed(x, embedding, step.batch().tokens(), embeddingScale);
        if (embeddingNorm != null) {
            embeddingNorm.apply(backend, x, x);
        }
        step.carry(x);
        Tensor y = step.rows(hidden());
        Tensor normed = step.rows(hidden());
        for (int i = 0; i < branches.size(); i++) {
            Branch branch = branches.get(i);
            step.enter(i);
            Scratch.Mark mark = step.scratch().mark();
            Tensor in = x;
            if (branch.before() != null) {
                branch.before().apply(backend, normed, x);
                in = normed;
            }
            branch.layer().apply(y, in, states.get(i), step);
            if (branch.after() != null) {
                branch.after().apply(backend, y, y);
            }
            Tensor kept = branch.keepsNormed() ? in : x;
            if (branch.keep() != 1) {
                backend.scale(kept, kept, branch.keep());
            }
            backend.add(x, kept, y, branch.scale());
            step.scratch().release(mark);
        }
        norm.apply(backend, x, x);
        return x;
    }

    /** {@code [rows, vocabulary]} from hidden rows. */
    public void logits(Backend backend, Tensor out, Tensor rows) {
        head.apply(backend, out, rows);
        if (logitScale != 1) {
            backend.scale(out, out, logitScale);
        }
        if (softcap > 0) {
            backend.softcap(out, softcap);
        }
    }
}
