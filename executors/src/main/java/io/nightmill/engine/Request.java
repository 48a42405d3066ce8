package io.nightmill.engine;

import java.util.List;

/**
 * One row's work. Two requests may have the same id.
 *
 * @param id names the row in results and fixes its random stream
 * @param prompt token ids, at least one
 * @param shared lengths of the prompt's beginnings that other requests have too, ascending: places worth remembering
 */
public record Request(String id, int[] prompt, Ask ask, int[] shared) {
    public Request(String id, int[] prompt, Ask ask) {
        this(id, prompt, ask, new int[0]);
    }

    public sealed interface Ask {
        record Generate(Sampling sampling) implements Ask {}

        /**
         * Log-probabilities of given text.
         *
         * @param continuations scored each after the prompt; none scores the prompt itself
         * @param topLogprobs alternatives to report per position; 0 is none
         */
        record Score(List<int[]> continuations, int topLogprobs) implements Ask {}
    }
}
