package io.nightmill.engine;

import io.nightmill.engine.Completion.Failure;
import io.nightmill.engine.Request.Ask;
import io.nightmill.text.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a request must be to run at all. */
record Admission(int vocabulary, int lead, int contextLength, Memory memory, @Nullable Tokenizer tokenizer) {
    /** Why a request cannot run, or null. */
    @Nullable
    Failure refuse(Request request) {
        int[] prompt = request.prompt();
        if (prompt.length == 0) {
            return new Failure(Failure.Code.BAD_INPUT, "the prompt has no tokens, expected at least one");
        }
        int longest = prompt.length + 1;
        List<int[]> given = new ArrayList<>(List.of(prompt));
        if (request.ask() instanceof Ask.Score score) {
            longest = prompt.length;
            for (int[] continuation : score.continuations()) {
                if (continuation.length == 0) {
                    return new Failure(Failure.Code.BAD_INPUT, "a continuation has no tokens, expected at least one");
                }
                // Nothing follows the last token, so it is judged and not read.
                longest = Math.max(longest, prompt.length + continuation.length - 1);
                given.add(continuation);
            }
        } else {
            Sampling s = ((Ask.Generate) request.ask()).sampling();
            given.add(s.allowedTokenIds().stream().mapToInt(Integer::intValue).toArray());
            given.add(
                    s.logitBias().keySet().stream().mapToInt(Integer::intValue).toArray());
            given.add(s.stopTokenIds().stream().mapToInt(Integer::intValue).toArray());
            if (tokenizer == null && (!s.stop().isEmpty() || !s.badWords().isEmpty())) {
                return new Failure(
                        Failure.Code.BAD_INPUT, "stop strings and bad_words need a tokenizer, and the model has none");
            }
        }
        for (int[] ids : given) {
            for (int id : ids) {
                if (id < 0 || id >= vocabulary) {
                    return new Failure(
                            Failure.Code.BAD_INPUT,
                            "token id %d is out of range, expected 0 to %d".formatted(id, vocabulary - 1));
                }
            }
        }
        if (longest > contextLength) {
            return new Failure(
                    Failure.Code.TOO_LONG,
                    "%d tokens do not fit the model's context of %d".formatted(longest, contextLength));
        }
        if (memory.pagesFor(lead + longest) > memory.pages()) {
            return new Failure(
                    Failure.Code.OUT_OF_MEMORY,
                    "%d tokens need %d pages of states, kv-memory holds %d"
                            .formatted(lead + longest, memory.pagesFor(lead + longest), memory.pages()));
        }
        return null;
    }

    /** As vLLM reads {@code bad_words}: each word as it stands, and after a space where that only changes its first token. */
    List<int[]> banned(Sampling s) {
        List<int[]> banned = new ArrayList<>();
        for (String word : s.badWords()) {
            int[] plain = tokenizer.encode(word.stripLeading(), false);
            int[] spaced = tokenizer.encode(" " + word.stripLeading(), false);
            if (plain.length > 0) {
                banned.add(plain);
            }
            if (spaced.length > 0 && (plain.length == 0 || spaced[0] != plain[0] && spaced.length == plain.length)) {
                banned.add(spaced);
            }
        }
        return banned;
    }
}
