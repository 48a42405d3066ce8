package io.nightmill.pipeline;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Completion.Failure;
import io.nightmill.engine.Request;
import io.nightmill.engine.Request.Ask;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.runtime.SamplingJson;
import java.util.ArrayDeque;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.spark.TaskContext;
import org.apache.spark.TaskKilledException;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.sql.Row;
import org.apache.spark.util.TaskCompletionListener;
import org.jspecify.annotations.Nullable;
import scala.Tuple2;

/**
 * A shard's rows through this JVM's runtime. Results leave as they finish; no more rows are in memory than the engine can
 * run at once. Runs on executors.
 */
record InferTask(Plan plan, RunCounters counters)
        implements FlatMapFunction<Iterator<Tuple2<Integer, ArrowBatch>>, Row> {

    @Override
    public Iterator<Row> call(Iterator<Tuple2<Integer, ArrowBatch>> batches) {
        ExecutorRuntime runtime = ExecutorRuntime.getOrStart(plan.spec(), ModelFiles::localize);
        return new Flow(plan, runtime, counters, batches);
    }

    /** What the engine's thread says of a request. */
    private record Answer(Request request, @Nullable Completion completion, @Nullable Throwable broken) {}

    /** Pulls rows in on the task's thread as results go out. */
    private static final class Flow implements Iterator<Row> {
        private final Plan plan;
        private final ExecutorRuntime runtime;
        private final RunCounters counters;
        private final Iterator<Tuple2<Integer, ArrowBatch>> batches;
        private final Results results;
        private final int window;
        private final TaskContext task = TaskContext.get();
        private final LinkedBlockingQueue<Answer> answers = new LinkedBlockingQueue<>();
        private final Map<Request, PlannedRow> flying = new IdentityHashMap<>();
        private final Map<PlannedRow, int[]> shared = new IdentityHashMap<>();
        private final ArrayDeque<PlannedRow> waiting = new ArrayDeque<>();
        private final ArrayDeque<Row> ready = new ArrayDeque<>();
        private boolean ended;

        Flow(Plan plan, ExecutorRuntime runtime, RunCounters counters, Iterator<Tuple2<Integer, ArrowBatch>> batches) {
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
                counters.attempts().add(Map.of(task.partitionId(), task.attemptNumber() + 1));
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
            while (flying.size() + ready.size() < window && (!waiting.isEmpty() || batches.hasNext())) {
                if (waiting.isEmpty()) {
                    try (ArrowBatch batch = batches.next()._2()) {
                        for (int i = 0; i < batch.size(); i++) {
                            waiting.add(batch.row(i));
                        }
                        plan(waiting);
                    }
                    continue;
                }
                start(waiting.remove());
            }
        }

        /** Finds what the waiting rows share, so that the engine computes it once. */
        private void plan(ArrayDeque<PlannedRow> rows) {
            List<PlannedRow> list =
                    rows.stream().filter(row -> row.failure() == null).toList();
            int[][] lengths =
                    SharedPrefixes.of(list.stream().map(PlannedRow::prompt).toList());
            for (int i = 0; i < lengths.length; i++) {
                shared.put(list.get(i), lengths[i]);
            }
        }

        private void start(PlannedRow row) {
            if (row.failure() != null) {
                finish(row, results.failed(row, row.failure()), row.failure(), 0);
                return;
            }
            Ask ask = plan.kind() == Plan.Kind.GENERATE
                    ? new Ask.Generate(SamplingJson.parse(plan.sampling(), row.sampling()))
                    : new Ask.Score(row.continuations(), plan.topLogprobs());
            Request request = new Request(row.id(), row.prompt(), ask, shared.remove(row));
            flying.put(request, row);
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
                PlannedRow row = flying.remove(answer.request);
                if (answer.completion == null) {
                    throw new IllegalStateException("The engine broke while it ran row " + row.id(), answer.broken);
                }
                int generated = answer.completion.outputs().stream()
                        .mapToInt(output -> output.tokens().length)
                        .sum();
                finish(row, results.of(row, answer.completion), answer.completion.failure(), generated);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new TaskKilledException("interrupted while waiting for the engine");
            }
        }

        private void finish(PlannedRow row, Row result, @Nullable Failure failure, int generated) {
            ready.add(result);
            counters.count(row, failure, plan.kind() == Plan.Kind.GENERATE ? generated : 0);
        }
    }
}
