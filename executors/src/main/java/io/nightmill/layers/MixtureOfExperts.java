package io.nightmill.layers;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Router;
import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A sparse feed-forward: each token goes to {@code topK} experts (Shazeer et al. 2017, arXiv 1701.06538), and to a shared
 * expert where there is one. The tokens of a step are sorted by expert, so each expert's product runs once.
 *
 * @param choiceBias {@code [1, experts]}, added to the scores for the choice alone (DeepSeek-V3, arXiv 2412.19437)
 * @param sharedGate one output: the shared expert's result is multiplied by its sigmoid
 * @param toLatent the rows that routed experts see, where those are narrower than the model (Nemotron 3), or null
 * @param fromLatent their results as wide as the model again
 */
public record MixtureOfExperts(
        Linear gate,
        @Nullable Tensor choiceBias,
        Router router,
        Experts experts,
        @Nullable FeedForward shared,
        @Nullable Linear sharedGate,
        @Nullable Linear toLatent,
        @Nullable Linear fromLatent)
        implements FeedForward {

    /** Experts that see the model's own rows. */
    public MixtureOfExperts(
            Linear gate,
            @Nullable Tensor choiceBias,
            Router router,
            Experts experts,
            @Nullable FeedForward shared,
            @Nullable Linear sharedGate) {
        this(gate, choiceBias, router, experts, shared, sharedGate, null, null);
    }

    /** Values of weights that a token does not meet. */
    long idleValues() {
        return experts.values() / router.experts() * (router.experts() - router.topK());
    }

    /** Of the experts, the part that a token meets. */
    double share() {
        return (double) router.topK() / router.experts();
    }

    @Override
    public void apply(Tensor out, Tensor x, Step step) {
        Backend backend = step.backend();
        Tensor logits = step.rows(router.experts());
        gate.apply(backend, logits, x);
        Routes routes = backend.route(logits, choiceBias, router);
        step.countChoices(routes);
        Tensor in = toLatent == null ? x : toLatent.of(x, step);
        Tensor sum = fromLatent == null ? out : step.rows(in.width());
        experts.apply(sum, in, routes, step);
        if (fromLatent != null) {
            fromLatent.apply(backend, out, sum);
        }

        if (shared != null) {
            Tensor common = step.rows(x.width());
            shared.apply(common, x, step);
            if (sharedGate != null) {
                Tensor weight = step.rows(1);
                sharedGate.apply(backend, weight, x);
                backend.activate(weight, weight, Activation.SIGMOID);
                backend.multiply(common, common, weight);
            }
            backend.add(out, out, common, 1);
        }
    }
}
