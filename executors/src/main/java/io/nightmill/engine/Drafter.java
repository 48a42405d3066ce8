package io.nightmill.engine;

import io.nightmill.engine.Scheduler.Share;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Picks;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.ExpertLoad;
import io.nightmill.layers.Scratch;
import io.nightmill.layers.StateCost;
import io.nightmill.layers.Step;
import io.nightmill.tensor.Tensor;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToIntFunction;

/**
 * A draft model at work: beside each sequence of the model it keeps one of its own, with states in a memory of its own, which follows
 * what the model chose and goes on by the draft's likeliest tokens.
 */
final class Drafter {
    private final Backend backend;
    private final Decoder decoder;
    private final int contextLength;
    private final Memory memory;
    private final PrefixCache prefixes;
    private final Scheduler scheduler;
    private final Scratch scratch;
    private final ExpertLoad load;
    private final Map<Sequence, Sequence> drafts = new IdentityHashMap<>();

    /** @throws IllegalArgumentException if the draft cannot guess for the model */
    Drafter(Backend backend, Draft draft, Decoder model, Limits limits, long bytes, long mostPages) {
        this.backend = backend;
        this.decoder = draft.decoder();
        this.contextLength = draft.contextLength();
        if (decoder.vocabulary() != model.vocabulary()) {
            throw new IllegalArgumentException(
                    "Cannot guess for a model of %d tokens by a draft model of %d, expected the same vocabulary"
                            .formatted(model.vocabulary(), decoder.vocabulary()));
        }
        if (StateCost.of(decoder.states(), limits.kvType()).perSequence() > 0) {
            throw new IllegalArgumentException(
                    "Cannot guess by a draft model with recurrent layers: their states cannot go back behind a wrong guess");
        }
        this.memory = new Memory(backend, decoder.states(), limits.kvType(), bytes, mostPages, 0);
        this.prefixes = new PrefixCache(memory);
        this.scheduler = new Scheduler(memory, prefixes, limits);
        this.scratch = new Scratch(backend);
        this.load = new ExpertLoad(backend, decoder);
    }

    /** Of the bytes for the states of a model and its draft, those of the draft: so that both hold as many tokens. */
    static long share(long bytes, Draft draft, Decoder model, Limits limits) {
        double its = StateCost.of(draft.decoder().states(), limits.kvType()).perToken();
        double models = StateCost.of(model.states(), limits.kvType()).perToken();
        return (long) (bytes * (its / (its + models)));
    }

    /**
     * Lays guesses behind sequences whose last token is to be computed next.
     *
     * @param running the model's scheduler, which says what still runs
     * @param most tokens to guess for a sequence
     */
    void guess(List<Sequence> sequences, Scheduler running, ToIntFunction<Sequence> most) {
        drafts.entrySet().removeIf(entry -> {
            boolean gone = !running.runs(entry.getKey());
            if (gone) {
                scheduler.finish(entry.getValue());
            }
            return gone;
        });
        Map<Sequence, Integer> goals = new IdentityHashMap<>();
        for (Sequence s : sequences) {
            int goal = Math.min(s.count + most.applyAsInt(s), contextLength);
            if (goal > s.count) {
                goals.put(follow(s), goal);
            }
        }
        List<Share> shares = scheduler.next();
        while (!shares.isEmpty()) {
            advance(shares, goals);
            shares = scheduler.next();
        }
        for (Sequence s : sequences) {
            Sequence draft = drafts.get(s);
            if (draft != null && goals.containsKey(draft)) {
                s.guess(Arrays.copyOfRange(draft.tokens, s.count, draft.known));
            }
        }
    }

    /** Brings the draft's sequence to where the model's is; what it has computed of the same tokens stays. */
    private Sequence follow(Sequence s) {
        Sequence draft = drafts.get(s);
        int[] tokens = Arrays.copyOf(s.tokens, s.count);
        if (draft == null) {
            draft = new Sequence(s.job, s.index, tokens, s.promptLength);
            draft.toScore = Integer.MAX_VALUE;
            drafts.put(s, draft);
            scheduler.add(draft);
        } else {
            int differs = Arrays.mismatch(draft.tokens, 0, draft.count, tokens, 0, s.count);
            int same = differs < 0 ? s.count : differs;
            draft.computed = Math.min(draft.computed, Math.min(same, s.count - 1));
            draft.tokens = tokens;
        }
        stand(draft, s.count);
        return draft;
    }

    private void stand(Sequence draft, int count) {
        draft.known = count;
        draft.count = count;
        int regime = decoder.regime(count);
        if (regime != draft.regime) {
            scheduler.restart(draft);
            draft.regime = regime;
        }
    }

    private void advance(List<Share> shares, Map<Sequence, Integer> goals) {
        Scratch.Mark mark = scratch.mark();
        Tensor hidden = decoder.forward(memory.states(), new Step(backend, Scheduler.batch(shares), scratch, load));
        int last = -1;
        int[] rows = new int[shares.size()];
        Sequence[] read = new Sequence[shares.size()];
        int count = 0;
        for (Share share : shares) {
            Sequence draft = share.sequence();
            draft.computed += share.tokens();
            prefixes.reached(draft);
            last += share.tokens();
            if (draft.computed == draft.count && goals.containsKey(draft)) {
                rows[count] = last;
                read[count++] = draft;
            }
        }
        if (count > 0) {
            Tensor wanted = scratch.tensor(count, hidden.width());
            backend.gather(wanted, hidden, Arrays.copyOf(rows, count));
            Tensor logits = scratch.tensor(count, decoder.vocabulary());
            decoder.logits(backend, logits, wanted);
            Picks picks = Picks.of(count);
            int[] none = new int[count];
            Arrays.fill(none, -1);
            backend.pick(picks, logits, none);
            for (int i = 0; i < count; i++) {
                Sequence draft = read[i];
                draft.append(picks.tokens()[i]);
                stand(draft, draft.known);
                if (draft.known == goals.get(draft)) {
                    // Nothing is guessed behind the last guess.
                    draft.count--;
                }
            }
        }
        scratch.release(mark);
    }
}
