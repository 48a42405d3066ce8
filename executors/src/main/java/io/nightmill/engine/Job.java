package io.nightmill.engine;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** A request under way: what its sequences share. */
final class Job {
    final Request request;
    /** The request's prompt after the model's own first tokens. */
    final int[] prompt;
    /** How many tokens are the model's own. */
    final int lead;

    final long submitted;
    /** Tokens that end an output. */
    final Set<Integer> ends;
    /** Token sequences of {@code bad_words}. */
    final List<int[]> banned;

    final Completion.@Nullable Output[] outputs;
    final TokenScores promptScores = new TokenScores();
    /** Logits of the prompt's last row were read and the outputs begun. */
    boolean forked;

    /** Prompt tokens whose states came from another request. */
    int cachedTokens;

    private PrefixCache.Prefix @Nullable [] prefixes;
    int open;
    long started;
    long firstToken;

    Job(Request request, int[] lead, long submitted, int outputs, Set<Integer> ends, List<int[]> banned) {
        this.request = request;
        this.lead = lead.length;
        this.prompt = Arrays.copyOf(lead, lead.length + request.prompt().length);
        System.arraycopy(request.prompt(), 0, prompt, lead.length, request.prompt().length);
        this.submitted = submitted;
        this.outputs = new Completion.Output[outputs];
        this.open = outputs;
        this.ends = ends;
        this.banned = banned;
    }

    /** The beginnings that the prompt shares, ascending. */
    PrefixCache.Prefix[] prefixes() {
        if (prefixes == null) {
            prefixes = IntStream.concat(IntStream.of(0), Arrays.stream(request.shared()))
                    .map(length -> lead + length)
                    .filter(length -> length > 0 && length <= prompt.length)
                    .distinct()
                    .mapToObj(length -> new PrefixCache.Prefix(prompt, length))
                    .toArray(PrefixCache.Prefix[]::new);
        }
        return prefixes;
    }
}
