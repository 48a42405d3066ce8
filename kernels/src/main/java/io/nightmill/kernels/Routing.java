package io.nightmill.kernels;

import io.nightmill.kernels.Backend.Router;

/** The choice of experts for one token. Ties go to the lower expert. */
final class Routing {
    private Routing() {}

    /** Writes {@code topK} choices and weights from place {@code at} on. */
    static void choose(float[] logits, int from, float[] bias, Router router, int[] experts, float[] weights, int at) {
        int n = router.experts();
        float[] scores = new float[n];
        System.arraycopy(logits, from, scores, 0, n);
        switch (router.scoring()) {
            case SOFTMAX -> softmax(scores, n);
            case SIGMOID -> {
                for (int e = 0; e < n; e++) {
                    scores[e] = ScalarLanes.sigmoid(scores[e]);
                }
            }
            case SOFTMAX_OF_CHOSEN -> {}
            case SPARSE_MIXER -> {
                mixSparsely(scores, router, experts, weights, at);
                return;
            }
        }
        float[] choice = scores.clone();
        if (bias.length > 0) {
            for (int e = 0; e < n; e++) {
                choice[e] += bias[e];
            }
        }
        if (router.keepsBias()) {
            scores = choice.clone();
        }
        if (router.groups() > 1) {
            maskGroups(choice, router);
        }
        float[] chosen = new float[router.topK()];
        for (int j = 0; j < router.topK(); j++) {
            int best = top(choice, 0, n);
            choice[best] = Float.NEGATIVE_INFINITY;
            experts[at + j] = best;
            chosen[j] = scores[best];
        }
        if (router.scoring() == Router.Scoring.SOFTMAX_OF_CHOSEN) {
            softmax(chosen, chosen.length);
        }
        float sum = 0;
        for (float weight : chosen) {
            sum += weight;
        }
        float factor = router.renormalize() ? router.scale() / (sum + 1e-20f) : router.scale();
        for (int j = 0; j < chosen.length; j++) {
            weights[at + j] = chosen[j] * factor;
        }
    }

    private static void mixSparsely(float[] scores, Router router, int[] experts, float[] weights, int at) {
        float[] left = scores.clone();
        for (int j = 0; j < router.topK(); j++) {
            int best = top(left, 0, left.length);
            float max = left[best];
            double sum = 0;
            for (int e = 0; e < left.length; e++) {
                float distance = (max - scores[e]) / Math.max(Math.abs(scores[e]), max);
                if (distance <= 2 * router.jitter()) {
                    sum += Math.exp((double) left[e] - max);
                }
            }
            experts[at + j] = best;
            weights[at + j] = (float) (1 / sum) * router.scale();
            left[best] = Float.NEGATIVE_INFINITY;
        }
    }

    private static void maskGroups(float[] choice, Router router) {
        int size = router.experts() / router.groups();
        float[] groupScores = new float[router.groups()];
        for (int g = 0; g < groupScores.length; g++) {
            int first = top(choice, g * size, size);
            groupScores[g] = choice[first];
            if (router.groupScore() == Router.GroupScore.SUM_OF_TOP_2 && size > 1) {
                float second = Float.NEGATIVE_INFINITY;
                for (int e = g * size; e < (g + 1) * size; e++) {
                    if (e != first) {
                        second = Math.max(second, choice[e]);
                    }
                }
                groupScores[g] += second;
            }
        }
        boolean[] kept = new boolean[groupScores.length];
        for (int i = 0; i < router.topGroups(); i++) {
            int best = top(groupScores, 0, groupScores.length);
            kept[best] = true;
            groupScores[best] = Float.NEGATIVE_INFINITY;
        }
        for (int e = 0; e < choice.length; e++) {
            if (!kept[e / size]) {
                choice[e] = router.maskedScore();
            }
        }
    }

    private static int top(float[] scores, int from, int count) {
        int best = from;
        for (int e = from + 1; e < from + count; e++) {
            if (scores[e] > scores[best]) {
                best = e;
            }
        }
        return best;
    }

    private static void softmax(float[] scores, int n) {
        float max = scores[top(scores, 0, n)];
        float sum = 0;
        for (int e = 0; e < n; e++) {
            scores[e] = ScalarLanes.exp(scores[e] - max);
            sum += scores[e];
        }
        for (int e = 0; e < n; e++) {
            scores[e] /= sum;
        }
    }
}
