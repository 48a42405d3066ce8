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
 */
public record MixtureOfExperts(
        Linear gate,
        @Nullable Tensor choiceBias,
        Router router,
        Experts experts,
        @Nullable FeedForward shared,
        @Nullable Linear sharedGate)
        implements FeedForward {

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
        Scratch.Mark mark = step.scratch().mark();
        Tensor results = step.scratch().tensor(x.rows() * router.topK(), x.width());
        experts.apply(results, x, routes, step);
        backend.combine(out, results, routes);
        step.scratch().release(mark);

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
