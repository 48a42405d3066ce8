package io.nightmill.pipeline;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.runtime.SamplingJson;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.TaskKilledException;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.sql.Row;
import org.apache.spark.util.TaskCompletionListener;
import org.jspecify.annotations.Nullable;

/**
 * A shard's rows through this JVM's runtime. The rows, which are few, are read at once and sorted; results leave as they finish.
 * Runs on executors.
 */
record InferTask(Plan plan, RunCounters counters) implements Function2<Integer, Iterator<ArrowBatch>, Iterator<Row>> {

    @Override
    public Iterator<Row> call(Integer shard, Iterator<ArrowBatch> batches) {
        List<String> gpus = NightmillPlugin.gpus(TaskContext.get().resourcesJMap());
        ExecutorRuntime runtime = ExecutorRuntime.getOrStart(plan.spec(), ModelFiles::localize, gpus);
        return new Flow(shard, plan, runtime, counters, batches);
    }

    /** What the engine's thread says of a request. */
    private record Answer(Request request, @Nullable Completion completion, @Nullable Throwable broken) {}

    /** Pulls rows in on the task's thread as results go out. */
    private static final class Flow implements Iterator<Row> {
        /** Rows whose common beginnings are looked for together. */
        private static final int PLANNED = 256;

        private final int shard;
        private final Plan plan;
        private final ExecutorRuntime runtime;
        private final RunCounters counters;
        private final Iterator<ArrowBatch> batches;
        private final Results results;
        private final int window;
        private final TaskContext task = TaskContext.get();
        private final LinkedBlockingQueue<Answer> answers = new LinkedBlockingQueue<>();
        private final Map<Request, List<PlannedRow>> flying = new IdentityHashMap<>();
        private final Map<PlannedRow, int[]> shared = new IdentityHashMap<>();
        private @Nullable ArrayDeque<List<PlannedRow>> groups;
        private final ArrayDeque<List<PlannedRow>> waiting = new ArrayDeque<>();
        private final ArrayDeque<Row> ready = new ArrayDeque<>();
        private final long start = System.nanoTime();
        private long rows;
        private long tokens;
        private boolean ended;

        Flow(int shard, Plan plan, ExecutorRuntime runtime, RunCounters counters, Iterator<ArrowBatch> batches) {
            this.shard = shard;
            this.plan = plan;
            this.runtime = runtime;
            this.counters = counters;
            this.batches = batches;
            this.results = new Results(plan);
            this.window = plan.spec().limits().maxNumSeqs();
            task.addTaskCompletionListener(
                    (TaskCompletionListener) context -> flying.keySet().forEach(runtime::cancel));
        }

        @Override
        public boolean hasNext() {
            fill();
            boolean more = !ready.isEmpty() || !flying.isEmpty();
            if (!more && !ended) {
                ended = true;
                counters.expertLoad().add(runtime.takeExpertLoad());
                counters.work().add(runtime.takeWork().table());
                long millis = (System.nanoTime() - start) / 1_000_000;
                String executor = SparkEnv.get().executorId();
                counters.shards()
                        .add(Map.of(
                                shard, new ShardRuns.Run(task.attemptNumber() + 1, executor, rows, tokens, millis)));
            }
            return more;
        }

        @Override
        public Row next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            while (ready.isEmpty()) {
                take();
            }
            return ready.remove();
        }

        private void fill() {
            if (groups == null) {
                groups = read();
            }
            while (flying.size() + ready.size() < window && (!waiting.isEmpty() || !groups.isEmpty())) {
                if (waiting.isEmpty()) {
                    while (waiting.size() < PLANNED && !groups.isEmpty()) {
                        waiting.add(groups.remove());
                    }
                    plan(waiting);
                }
                start(waiting.remove());
            }
        }

        /** The shard's rows in the order of their tokens; rows that ask the same are a group, computed once. */
        private ArrayDeque<List<PlannedRow>> read() {
            List<PlannedRow> rows = new ArrayList<>();
            ArrowBatches.read(batches).forEach(rows::addAll);
            rows.sort(Comparator.comparing(PlannedRow::prompt, Arrays::compare).thenComparing(PlannedRow::fingerprint));
            Map<String, List<PlannedRow>> byContent = new LinkedHashMap<>();
            for (PlannedRow row : rows) {
                boolean shares = row.failure() == null && plan.isDeterministic(row);
                // A row that answers by itself is a group of its own, whatever others are like it.
                String content = shares ? Fingerprint.ofContent(plan, row) : "row " + byContent.size();
                byContent.computeIfAbsent(content, key -> new ArrayList<>()).add(row);
            }
            return new ArrayDeque<>(byContent.values());
        }

        /** Finds what the waiting rows share, so that the engine computes it once. */
        private void plan(ArrayDeque<List<PlannedRow>> rows) {
            List<PlannedRow> list = rows.stream()
                    .map(group -> group.get(0))
                    .filter(row -> row.failure() == null)
                    .toList();
            int[][] lengths = plan.prefixCaching()
                    ? SharedPrefixes.of(list.stream().map(PlannedRow::prompt).toList())
                    : new int[list.size()][0];
            for (int i = 0; i < lengths.length; i++) {
                shared.put(list.get(i), lengths[i]);
            }
        }

        private void start(List<PlannedRow> group) {
            PlannedRow row = group.get(0);
            if (row.failure() != null) {
                ready.add(results.failed(row, row.failure()));
                counters.countFailed(row, row.failure());
                return;
            }
            Ask ask = plan.generates(row)
                    ? new Ask.Generate(SamplingJson.parse(plan.sampling(), row.sampling()))
                    : new Ask.Score(row.continuations(), plan.topLogprobs());
            Request request = new Request(row.id(), row.prompt(), ask, shared.remove(row));
            flying.put(request, group);
            runtime.submit(request, new ExecutorRuntime.Receiver() {
                @Override
                public void completed(Completion completion) {
                    answers.add(new Answer(request, completion, null));
                }

                @Override
                public void failed(Throwable reason) {
                    answers.add(new Answer(request, null, reason));
                }
            });
        }

        private void take() {
            try {
                Answer answer = answers.poll(200, TimeUnit.MILLISECONDS);
                if (answer == null) {
                    if (task.isInterrupted()) {
                        throw new TaskKilledException("killed while waiting for the engine");
                    }
                    return;
                }
                List<PlannedRow> group = flying.remove(answer.request);
                Completion completion = answer.completion;
                if (completion == null) {
                    throw new IllegalStateException(
                            "The engine broke while it ran row " + group.get(0).id(), answer.broken);
                }
                int outputs = completion.outputs().stream()
                        .mapToInt(output -> output.tokens().length)
                        .sum();
                PlannedRow first = group.get(0);
                group.forEach(row -> ready.add(results.of(row, completion)));
                counters.count(first, completion, outputs, plan.generates(first) ? outputs : 0);
                group.stream().skip(1).forEach(row -> counters.countDuplicate(row, completion));
                rows += group.size();
                tokens += first.prompt().length + outputs;
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new TaskKilledException("interrupted while waiting for the engine");
            }
        }
    }
}
