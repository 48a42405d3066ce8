package io.nightmill.engine;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A request under way: what its sequences share. */
final class Job {
    final Request request;
    final long submitted;
    /** Tokens that end an output. */
    final Set<Integer> ends;
    /** Token sequences of {@code bad_words}. */
    final List<int[]> banned;

    final Completion.@Nullable Output[] outputs;
    final TokenScores prompt = new TokenScores();
    /** Logits of the prompt's last row were read and the outputs begun. */
    boolean forked;

    /** Prompt tokens whose states came from another request. */
    int cachedTokens;

    private PrefixCache.Prefix @Nullable [] prefixes;
    int open;
    long started;
    long firstToken;

    Job(Request request, long submitted, int outputs, Set<Integer> ends, List<int[]> banned) {
        this.request = request;
        this.submitted = submitted;
        this.outputs = new Completion.Output[outputs];
        this.open = outputs;
        this.ends = ends;
        this.banned = banned;
    }

    /** The beginnings that the prompt shares, ascending. */
    PrefixCache.Prefix[] prefixes() {
        if (prefixes == null) {
            prefixes = Arrays.stream(request.shared())
                    .filter(length -> length > 0 && length <= request.prompt().length)
                    .mapToObj(length -> new PrefixCache.Prefix(request.prompt(), length))
                    .toArray(PrefixCache.Prefix[]::new);
        }
        return prefixes;
    }
}
