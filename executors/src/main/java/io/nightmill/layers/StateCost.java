package io.nightmill.layers;

import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State;
import java.util.List;

/**
 * Bytes that a running sequence takes for what its layers remember.
 *
 * @param perToken of states that grow; 0 for purely recurrent models
 * @param perSequence of states of fixed size
 */
public record StateCost(long perToken, long perSequence) {
    /**
     * @param states per branch
     * @param type of the values of paged states
     */
    public static StateCost of(List<List<State.Spec>> states, KvType type) {
        long perToken = 0;
        long perSequence = 0;
        for (List<State.Spec> specs : states) {
            for (State.Spec spec : specs) {
                if (spec instanceof State.Spec.Paged paged) {
                    perToken += type.rowBytes(paged);
                } else {
                    perSequence += spec.width() * (long) Float.BYTES;
                }
            }
        }
        return new StateCost(perToken, perSequence);
    }

    /** Of a sequence of so many tokens. */
    public long bytes(long tokens) {
        return perSequence + perToken * tokens;
    }
}
