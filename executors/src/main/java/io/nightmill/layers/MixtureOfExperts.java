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
 * @param choiceBias added to the scores for the choice alone (DeepSeek-V3, arXiv 2412.19437)
 * @param sharedGate one output: the shared expert's result is multiplied by its sigmoid
 */
public record MixtureOfExperts(
        Linear gate,
        float @Nullable [] choiceBias,
        Router router,
        Experts experts,
        @Nullable FeedForward shared,
        @Nullable Linear sharedGate)
        implements FeedForward {

    /** Values of weights that a token does not meet. */
    long idleValues() {
        return experts.values() / router.experts() * (router.experts() - router.topK());
    }

    @Override
    public void apply(Tensor out, Tensor x, Step step) {
        Backend backend = step.backend();
        Tensor logits = step.rows(router.experts());
        gate.apply(backend, logits, x);
        Routes routes = Routes.of(x.rows(), router.topK());
        backend.route(routes, logits, choiceBias, router);
        step.countExperts(routes.experts(), router.experts());

        int[] starts = starts(routes);
        int[] place = new int[routes.experts().length];
        int[] token = new int[place.length];
        int[] next = starts.clone();
        for (int i = 0; i < place.length; i++) {
            place[i] = next[routes.experts()[i]]++;
            token[place[i]] = i / router.topK();
        }
        Tensor sorted = step.scratch().tensor(place.length, x.width());
        backend.gather(sorted, x, token);
        Tensor results = step.scratch().tensor(place.length, x.width());
        experts.apply(results, sorted, starts, step);
        backend.combine(out, results, place, routes);

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

    /** First row of each expert once rows are sorted by expert, {@code [experts + 1]}. */
    private int[] starts(Routes routes) {
        int[] starts = new int[router.experts() + 1];
        for (int expert : routes.experts()) {
            starts[expert + 1]++;
        }
        for (int e = 0; e < router.experts(); e++) {
            starts[e + 1] += starts[e];
        }
        return starts;
    }
}
