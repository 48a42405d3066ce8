package io.nightmill.engine;

import io.nightmill.engine.Completion.Failure;
import io.nightmill.engine.Completion.Finish;
import io.nightmill.engine.Completion.Output;
import io.nightmill.engine.Completion.Timing;
import io.nightmill.engine.Request.Ask;
import io.nightmill.engine.Scheduler.Share;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Picks;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.ExpertLoad;
import io.nightmill.layers.Scratch;
import io.nightmill.layers.StateCost;
import io.nightmill.layers.Step;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Tensor;
import io.nightmill.text.Detokenizer;
import io.nightmill.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Continuous batching (Yu et al. 2022, Orca) over paged states (Kwon et al. 2023, arXiv 2309.06180): chunks of prompts and
 * single decoded tokens share each step. A prompt is computed once for all its samples or continuations.
 */
public final class ContinuousEngine implements Engine {
    private static final int LOGIT_ROWS = 64;

    private final Backend backend;
    private final Decoder decoder;
    private final @Nullable Tokenizer tokenizer;
    private final Set<Integer> endTokens;
    private final int contextLength;
    private final Admission admission;
    private final Memory memory;
    private final PrefixCache prefixes;
    private final Scheduler scheduler;
    private final Scratch scratch;
    private final Speculation speculation;
    private final @Nullable Drafter drafter;
    private final Sampler sampler;
    private final ExpertLoad load;
    private final Map<Request, Job> jobs = new IdentityHashMap<>();
    private final List<Completion> done = new ArrayList<>();
    private long steps;
    private long promptTokens;
    private long cachedTokens;
    private long completionTokens;
    private long finished;
    private long guessedTokens;
    private long rightGuesses;
    private Work work = Work.NONE;

    /**
     * @param endTokens tokens that end an output unless {@code ignore_eos}
     * @param contextLength tokens that prompt and output may have together
     * @param draft what guesses ahead, where that is a {@link DraftModel}
     */
    public ContinuousEngine(
            Backend backend,
            Decoder decoder,
            @Nullable Tokenizer tokenizer,
            Set<Integer> endTokens,
            int contextLength,
            Limits asked,
            @Nullable Draft draft) {
        Limits limits = asked.chosen(decoder.expertShare());
        this.backend = backend;
        this.decoder = decoder;
        this.tokenizer = tokenizer;
        this.endTokens = endTokens;
        this.contextLength = contextLength;
        long mostPages = (long) limits.maxNumSeqs() * ((contextLength + decoder.lead().length) / Batch.PAGE_TOKENS + 2);
        // Half as many again for states that running sequences were forked from.
        int mostSlots = limits.maxNumSeqs() + limits.maxNumSeqs() / 2 + 1;
        long bytes = limits.kvBytes();
        boolean guesses = guesses(decoder, limits);
        long draftBytes = guesses && draft != null ? Drafter.share(bytes, draft, decoder, limits) : 0;
        this.memory = new Memory(backend, decoder.states(), limits.kvType(), bytes - draftBytes, mostPages, mostSlots);
        this.admission = new Admission(decoder.vocabulary(), decoder.lead().length, contextLength, memory, tokenizer);
        this.prefixes = new PrefixCache(memory);
        this.scheduler = new Scheduler(memory, prefixes, limits);
        this.scratch = new Scratch(backend);
        this.sampler = new Sampler(backend, scratch);
        this.load = new ExpertLoad(backend, decoder);
        this.speculation = guesses ? limits.speculation() : Speculation.NONE;
        this.drafter =
                guesses && draft != null ? new Drafter(backend, draft, decoder, limits, draftBytes, mostPages) : null;
    }

    /** Whether tokens are guessed ahead: only pages can be written anew, a recurrent state behind a wrong guess would be lost. */
    public static boolean guesses(Decoder decoder, Limits limits) {
        return limits.speculation().tokens() > 0
                && StateCost.of(decoder.states(), limits.kvType()).perSequence() == 0;
    }

    /** Without a draft model. */
    public ContinuousEngine(
            Backend backend,
            Decoder decoder,
            @Nullable Tokenizer tokenizer,
            Set<Integer> endTokens,
            int contextLength,
            Limits limits) {
        this(backend, decoder, tokenizer, endTokens, contextLength, limits, null);
    }

    @Override
    public void submit(Request request) {
        long now = System.nanoTime();
        Failure failure = admission.refuse(request);
        if (failure != null) {
            done.add(new Completion(request, List.of(), null, 0, failure, new Timing(0, 0, 0)));
            return;
        }
        Job job;
        if (request.ask() instanceof Ask.Generate generate) {
            Sampling s = generate.sampling();
            Set<Integer> ends = new HashSet<>(s.stopTokenIds());
            if (!s.ignoreEos()) {
                ends.addAll(endTokens);
            }
            job = new Job(request, decoder.lead(), now, s.n(), ends, admission.banned(s));
        } else {
            int outputs = ((Ask.Score) request.ask()).continuations().size();
            job = new Job(request, decoder.lead(), now, outputs, Set.of(), List.of());
        }
        jobs.put(request, job);
        Sequence prompt = new Sequence(job, -1, job.prompt, job.prompt.length);
        prompt.toScore = judgesPrompt(request.ask()) ? job.lead + 1 : Integer.MAX_VALUE;
        prompt.count -= continues(prompt) ? 0 : 1;
        prompt.regime = decoder.regime(prompt.known);
        if (prompt.count == 0) {
            end(prompt, Finish.SCORED, null);
        } else {
            scheduler.add(prompt);
        }
    }

    private static boolean judgesPrompt(Ask ask) {
        return ask instanceof Ask.Generate generate
                ? generate.sampling().promptLogprobs() != null
                : ((Ask.Score) ask).continuations().isEmpty();
    }

    @Override
    public void cancel(Request request) {
        Job job = jobs.remove(request);
        if (job != null) {
            scheduler.sequencesOf(job).forEach(scheduler::finish);
        }
    }

    @Override
    public boolean idle() {
        return scheduler.idle() && done.isEmpty();
    }

    @Override
    public Counters counters() {
        return new Counters(
                steps,
                promptTokens,
                cachedTokens,
                completionTokens,
                scheduler.preemptions(),
                finished,
                scheduler.running(),
                scheduler.waiting(),
                memory.pages(),
                memory.freePages(),
                memory.slots(),
                memory.freeSlots(),
                guessedTokens,
                rightGuesses,
                work);
    }

    @Override
    public long[][] expertLoad() {
        return load.counts();
    }

    @Override
    public List<Completion> step() {
        List<Share> shares = scheduler.next();
        if (!shares.isEmpty()) {
            run(shares);
        }
        List<Completion> completed = List.copyOf(done);
        done.clear();
        finished += completed.size();
        return completed;
    }

    /** Which row of the step judges or continues which sequence. */
    record Reading(Sequence sequence, int position, int row) {}

    private void run(List<Share> shares) {
        steps++;
        long now = System.nanoTime();
        for (Share share : shares) {
            Sequence s = share.sequence();
            s.job.started = s.job.started == 0 ? now : s.job.started;
        }
        boolean reads = shares.stream().anyMatch(ContinuousEngine::reads);
        Scratch.Mark mark = scratch.mark();
        Step step = new Step(backend, Scheduler.batch(shares), scratch, load);
        Tensor hidden = decoder.forward(memory.states(), step);
        List<Reading> readings = new ArrayList<>();
        int first = 0;
        long stateBytes = 0;
        for (Share share : shares) {
            Sequence s = share.sequence();
            for (int i = 0; i < share.tokens(); i++) {
                int position = s.computed + i;
                boolean judges = position + 1 >= s.toScore && position + 1 < s.known;
                if (judges || position >= s.count - 1 && continues(s)) {
                    readings.add(new Reading(s, position, first + i));
                }
            }
            s.trusted = s.count - 1;
            s.computed += share.tokens();
            stateBytes += memory.cost().bytes(s.computed);
            guessedTokens += Math.max(0, s.computed - s.count);
            prefixes.reached(s);
            promptTokens += Math.max(0, Math.min(s.promptLength, s.computed) - (s.computed - share.tokens()));
            first += share.tokens();
        }
        for (int from = 0; from < readings.size(); from += LOGIT_ROWS) {
            Scratch.Mark before = scratch.mark();
            read(hidden, readings.subList(from, Math.min(readings.size(), from + LOGIT_ROWS)));
            scratch.release(before);
        }
        scratch.release(mark);
        List<Sequence> last = new ArrayList<>();
        for (Share share : shares) {
            Sequence s = share.sequence();
            if (s.computed == s.count && !continues(s)) {
                end(s, Finish.SCORED, null);
            } else if (s.index >= 0 && s.computed > 0 && continues(s)) {
                // States behind a wrong guess are written anew.
                s.computed = Math.min(s.computed, s.count - 1);
                if (s.computed == s.count - 1) {
                    last.add(s);
                }
            }
        }
        guess(last);
        work = work.plus(Work.step(reads, new Work.Steps(1, first, System.nanoTime() - now, stateBytes)));
    }

    /** Lays guesses behind sequences whose last token is to be computed next. */
    private void guess(List<Sequence> sequences) {
        if (speculation instanceof PromptLookup lookup) {
            sequences.forEach(s -> s.guess(lookup.guess(s.tokens, s.count, mayGuess(s))));
        } else if (drafter != null) {
            drafter.guess(sequences, scheduler, this::mayGuess);
        }
    }

    /** As many tokens as the output may have behind the one that is chosen next. */
    private int mayGuess(Sequence s) {
        Sampling sampling = ((Ask.Generate) s.job.request.ask()).sampling();
        int byRequest = sampling.maxTokens() - (s.count - s.promptLength) - 1;
        int byContext = contextLength + s.job.lead - s.count;
        return Math.max(0, Math.min(speculation.tokens(), Math.min(byRequest, byContext)));
    }

    /** Whether a share is tokens that are known, and not the next one with what is guessed behind it. */
    private static boolean reads(Share share) {
        Sequence s = share.sequence();
        return s.computed < s.promptLength || s.computed + 1 < s.count;
    }

    /** Whether something follows the sequence's last token: another token, or outputs that fork from it. */
    private static boolean continues(Sequence s) {
        return s.job.request.ask() instanceof Ask.Generate
                || s.index < 0
                        && !((Ask.Score) s.job.request.ask()).continuations().isEmpty();
    }

    private void read(Tensor hidden, List<Reading> readings) {
        int[] rows = readings.stream().mapToInt(Reading::row).toArray();
        Tensor wanted = scratch.tensor(rows.length, hidden.width());
        backend.gather(wanted, hidden, rows);
        Tensor logits = scratch.tensor(rows.length, decoder.vocabulary());
        decoder.logits(backend, logits, wanted);
        int[] targets = readings.stream()
                .mapToInt(r -> r.position + 1 < r.sequence.known ? r.sequence.tokens[r.position + 1] : -1)
                .toArray();
        int[][] drawn = sampler.draw(readings, targets, logits);
        int[] judged = new int[rows.length];
        Arrays.setAll(judged, i -> drawn[i].length > 0 ? drawn[i][0] : targets[i]);
        Picks picks = Picks.of(rows.length);
        backend.pick(picks, logits, judged);
        for (int i = 0; i < rows.length; i++) {
            Reading reading = readings.get(i);
            Sequence s = reading.sequence;
            Choice choice = new Choice(logits, i, picks, drawn[i]);
            if (targets[i] >= 0) {
                TokenScores scores = s.index < 0 ? s.job.promptScores : s.scores;
                record(scores, picks.logprobs()[i], picks.ranks()[i], topCount(s), logits, i);
                s.toScore = reading.position + 2;
            } else if (s.index < 0) {
                fork(s, choice);
            } else if (reading.position <= s.trusted) {
                follow(s, choice);
            }
        }
    }

    /**
     * What may follow a row of logits.
     *
     * @param picks of all rows: the first token drawn, or the likeliest
     * @param drawn a token for each output that begins or goes on here; empty if it is the likeliest
     */
    private record Choice(Tensor logits, int row, Picks picks, int[] drawn) {}

    /** Chooses the next token, and goes on trusting the guesses if it is the one that was guessed. */
    private void follow(Sequence s, Choice choice) {
        int guess = s.guessed > 0 ? s.tokens[s.count] : -1;
        int left = s.guessed - 1;
        boolean ended = extend(s, choice, 0);
        boolean right = !ended && s.computed > 0 && guess >= 0 && s.tokens[s.count - 1] == guess;
        s.guessed = right ? left : 0;
        s.trusted = right ? s.trusted + 1 : -1;
        rightGuesses += right ? 1 : 0;
    }

    private static int topCount(Sequence s) {
        if (s.job.request.ask() instanceof Ask.Score score) {
            return score.topLogprobs();
        }
        Sampling sampling = ((Ask.Generate) s.job.request.ask()).sampling();
        Integer count = s.index < 0 ? sampling.promptLogprobs() : sampling.logprobs();
        return count == null ? 0 : count;
    }

    /** @param top alternatives to note; -1 is the whole vocabulary */
    private void record(TokenScores scores, float logprob, int rank, int top, Tensor logits, int i) {
        if (top == 0) {
            scores.add(logprob, rank);
            return;
        }
        int[] ids = new int[top < 0 ? logits.width() : Math.min(top, logits.width())];
        float[] logprobs = new float[ids.length];
        backend.top(ids, logprobs, logits.rows(i, 1));
        scores.add(logprob, rank, new TokenScores.Top(ids, logprobs));
    }

    /** The prompt is read: its outputs begin, each holding the prompt's states. */
    private void fork(Sequence prompt, Choice choice) {
        Job job = prompt.job;
        if (job.forked) {
            throw new IllegalStateException("the prompt of " + job.request.id() + " was read twice");
        }
        job.forked = true;
        List<Sequence> outputs = new ArrayList<>();
        for (int index = 0; index < job.outputs.length; index++) {
            int[] tokens = prompt.tokens;
            if (job.request.ask() instanceof Ask.Score score) {
                int[] continuation = score.continuations().get(index);
                tokens = Arrays.copyOf(prompt.tokens, prompt.known + continuation.length);
                System.arraycopy(continuation, 0, tokens, prompt.known, continuation.length);
            }
            Sequence output = new Sequence(job, index, tokens, prompt.known);
            output.regime = decoder.regime(output.known);
            if (output.regime == prompt.regime) {
                scheduler.share(prompt, output);
            }
            output.toScore = Integer.MAX_VALUE;
            outputs.add(output);
        }
        scheduler.finish(prompt);
        List<Sequence> going = new ArrayList<>();
        for (Sequence output : outputs) {
            boolean ended = job.request.ask() instanceof Ask.Score
                    ? begin(output, prompt, choice.logits, choice.row)
                    : extend(output, choice, output.index);
            if (!ended) {
                going.add(output);
            }
        }
        scheduler.addFirst(going);
    }

    /** Judges the first token of a continuation by the prompt's last row. Returns whether that was all. */
    private boolean begin(Sequence continuation, Sequence prompt, Tensor logits, int i) {
        continuation.count = continuation.known - 1;
        continuation.toScore = prompt.known;
        if (continuation.computed == 0) {
            return false;
        }
        Picks first = Picks.of(1);
        backend.pick(first, logits.rows(i, 1), new int[] {continuation.tokens[prompt.known]});
        record(continuation.scores, first.logprobs()[0], first.ranks()[0], topCount(continuation), logits, i);
        continuation.toScore++;
        return continuation.computed == continuation.count && end(continuation, Finish.SCORED, null);
    }

    /**
     * Chooses the next token. Returns whether the output ended with it.
     *
     * @param output of those that were drawn for
     */
    private boolean extend(Sequence s, Choice choice, int output) {
        Job job = s.job;
        Sampling sampling = ((Ask.Generate) job.request.ask()).sampling();
        Picks chosen = Picks.of(1);
        int i = choice.row;
        if (choice.drawn.length == 0 || output == 0) {
            chosen.tokens()[0] = choice.picks.tokens()[i];
            chosen.logprobs()[0] = choice.picks.logprobs()[i];
            chosen.ranks()[0] = choice.picks.ranks()[i];
        } else {
            backend.pick(chosen, choice.logits.rows(i, 1), new int[] {choice.drawn[output]});
        }
        record(s.scores, chosen.logprobs()[0], chosen.ranks()[0], topCount(s), choice.logits, i);
        int token = chosen.tokens()[0];
        completionTokens++;
        job.firstToken = job.firstToken == 0 ? System.nanoTime() : job.firstToken;
        s.append(token);
        if (decoder.regime(s.count) != s.regime) {
            scheduler.restart(s);
            s.regime = decoder.regime(s.count);
        }
        return ended(s, token, sampling);
    }

    private boolean ended(Sequence s, int token, Sampling sampling) {
        int generated = s.count - s.promptLength;
        String stopString = null;
        if (!sampling.stop().isEmpty() && tokenizer != null) {
            if (s.text == null) {
                s.text = new Detokenizer(tokenizer, sampling.skipSpecialTokens(), s.job.request.prompt());
            }
            int before = s.text.text().length();
            s.text.push(token);
            stopString = generated > sampling.minTokens() ? cut(s.text.text(), before, sampling) : null;
        }
        if (s.job.ends.contains(token) && generated > sampling.minTokens()) {
            boolean isEnd = endTokens.contains(token) && !sampling.ignoreEos();
            return end(s, Finish.STOP, isEnd ? null : Integer.toString(token));
        }
        if (stopString != null) {
            return end(s, Finish.STOP, stopString, stopString);
        }
        if (generated >= sampling.maxTokens() || s.count - s.job.lead >= contextLength) {
            return end(s, Finish.LENGTH, null);
        }
        if (memory.pagesFor(s.count) > memory.pages()) {
            scheduler.finish(s);
            fail(
                    s.job,
                    new Failure(
                            Failure.Code.OUT_OF_MEMORY,
                            "%d tokens need %d pages of states, kv-memory holds %d"
                                    .formatted(s.count, memory.pagesFor(s.count), memory.pages())));
            return true;
        }
        return false;
    }

    /** Cuts the text at the first stop string that the new part completes, and returns that string. */
    private static @Nullable String cut(StringBuilder text, int before, Sampling sampling) {
        int best = Integer.MAX_VALUE;
        String found = null;
        for (String stop : sampling.stop()) {
            int at = text.indexOf(stop, Math.max(0, before - stop.length() + 1));
            if (at >= 0 && at < best) {
                best = at;
                found = stop;
            }
        }
        if (found != null) {
            text.setLength(sampling.includeStopStrInOutput() ? best + found.length() : best);
        }
        return found;
    }

    private boolean end(Sequence s, Finish finish, @Nullable String stopReason) {
        return end(s, finish, stopReason, null);
    }

    /** @param stopString what the text was cut at */
    private boolean end(Sequence s, Finish finish, @Nullable String stopReason, @Nullable String stopString) {
        Job job = s.job;
        scheduler.finish(s);
        if (s.index >= 0) {
            String text = stopString != null ? s.text.text().toString() : text(s);
            job.outputs[s.index] = new Output(s.index, s.output(), text, finish, stopReason, s.scores);
            job.open--;
        }
        if (job.open == 0) {
            complete(job, null);
        }
        return true;
    }

    /** The text of an output; the token that ended it is part of it only if it is asked for. */
    private @Nullable String text(Sequence s) {
        if (tokenizer == null || !(s.job.request.ask() instanceof Ask.Generate generate)) {
            return null;
        }
        Sampling sampling = generate.sampling();
        int[] output = s.output();
        boolean hidden = output.length > 0
                && s.job.ends.contains(output[output.length - 1])
                && output.length > sampling.minTokens()
                && !sampling.includeStopStrInOutput();
        int[] shown = hidden ? Arrays.copyOf(output, output.length - 1) : output;
        return Detokenizer.text(tokenizer, sampling.skipSpecialTokens(), s.job.request.prompt(), shown);
    }

    private void fail(Job job, Failure failure) {
        scheduler.sequencesOf(job).forEach(scheduler::finish);
        complete(job, failure);
    }

    private void complete(Job job, @Nullable Failure failure) {
        if (jobs.remove(job.request) == null) {
            return;
        }
        long now = System.nanoTime();
        Timing timing = new Timing(
                (job.started - job.submitted) / 1_000_000,
                ((job.firstToken == 0 ? now : job.firstToken) - job.submitted) / 1_000_000,
                (now - job.submitted) / 1_000_000);
        List<Output> outputs = failure == null ? List.of(job.outputs) : List.of();
        TokenScores prompt = failure == null && judgesPrompt(job.request.ask()) ? job.promptScores : null;
        cachedTokens += job.cachedTokens;
        done.add(new Completion(job.request, outputs, prompt, job.cachedTokens, failure, timing));
    }

    @Override
    public void close() {
        backend.close();
    }
}
