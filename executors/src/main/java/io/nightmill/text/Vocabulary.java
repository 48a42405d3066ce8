package io.nightmill.text;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A vocabulary as GGUF and SentencePiece files have it.
 *
 * @param pieces by id
 * @param scores log-probabilities (unigram) or merge ranks (SentencePiece's BPE), or empty
 * @param kinds by id
 * @param merges for byte-level BPE, "left right", best first
 * @param begin token before every text, or -1
 * @param end token after every text, or -1
 * @param unknown token for what cannot be encoded, or -1
 */
public record Vocabulary(
        List<String> pieces, float[] scores, Kind[] kinds, List<String> merges, int begin, int end, int unknown) {

    public enum Kind {
        NORMAL,
        UNKNOWN,
        CONTROL,
        USER_DEFINED,
        UNUSED,
        BYTE;

        /** By the number that both file formats use. */
        public static Kind of(int number) {
            if (number < 1 || number > values().length) {
                throw new IllegalArgumentException("Cannot use token type " + number + ", expected 1 to 6");
            }
            return values()[number - 1];
        }
    }

    public Vocabulary {
        if (kinds.length != pieces.size() || scores.length != 0 && scores.length != pieces.size()) {
            throw new IllegalArgumentException("Cannot use a vocabulary of %d pieces with %d types and %d scores"
                    .formatted(pieces.size(), kinds.length, scores.length));
        }
    }

    @Nullable
    String piece(int id) {
        return id < 0 || id >= pieces.size() ? null : pieces.get(id);
    }
}
