package io.nightmill.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.engine.Completion;
import io.nightmill.engine.Completion.Timing;
import io.nightmill.engine.Engine;
import io.nightmill.engine.Request;
import io.nightmill.engine.Work;
import io.nightmill.kernels.gpu.DeviceException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Engines that break, and what becomes of the requests that they were running. */
class EngineLoopTest {
    private final AtomicInteger engines = new AtomicInteger();

    /** Ends each request after three steps; breaks or hangs as told. */
    private class Fragile implements Engine {
        private final Set<String> poison;
        private final int most;
        private final CountDownLatch hang;
        private final Map<Request, Integer> steps = new LinkedHashMap<>();
        private long finished;

        Fragile(Set<String> poison, int most, CountDownLatch hang) {
            this.poison = poison;
            this.most = most;
            this.hang = hang;
            engines.incrementAndGet();
        }

        @Override
        public void submit(Request request) {
            steps.put(request, 0);
        }

        @Override
        public void cancel(Request request) {
            steps.remove(request);
        }

        @Override
        public List<Completion> step() {
            if (steps.size() > most) {
                throw new OutOfMemoryError(steps.size() + " together");
            }
            List<Completion> done = new ArrayList<>();
            for (Request request : List.copyOf(steps.keySet())) {
                int count = steps.merge(request, 1, Integer::sum);
                if (count == 2 && poison.contains(request.id())) {
                    if (hang != null) {
                        await(hang);
                    }
                    throw new ArithmeticException("poison");
                }
                if (count == 3) {
                    steps.remove(request);
                    finished++;
                    done.add(new Completion(request, List.of(), null, 0, null, new Timing(0, 0, 0)));
                }
            }
            return done;
        }

        @Override
        public boolean idle() {
            return steps.isEmpty();
        }

        @Override
        public Counters counters() {
            return new Counters(0, 0, 0, 0, 0, finished, steps.size(), 0, 0, 0, 0, 0, 0, 0, Work.NONE);
        }

        @Override
        public long[][] expertLoad() {
            return new long[][] {{finished, 1}};
        }

        @Override
        public void close() {}
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await(20, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** What each request got: "ok", the message of its failure, or that the loop has given up. */
    private static Map<String, String> run(EngineLoop loop, int count) throws InterruptedException {
        Map<String, String> said = new ConcurrentHashMap<>();
        CountDownLatch open = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            Request request = new Request("row-" + i, new int[] {1}, new Request.Ask.Score(List.of(), 0));
            loop.submit(request, new ExecutorRuntime.Receiver() {
                @Override
                public void completed(Completion completion) {
                    String result = completion.failure() == null
                            ? "ok"
                            : completion.failure().code() + ": "
                                    + completion.failure().message();
                    assertThat(said.put(request.id(), result)).isNull();
                    open.countDown();
                }

                @Override
                public void failed(Throwable reason) {
                    assertThat(said.put(request.id(), "gave up: " + reason.getMessage()))
                            .isNull();
                    open.countDown();
                }
            });
        }
        assertThat(open.await(30, TimeUnit.SECONDS)).isTrue();
        return new TreeMap<>(said);
    }

    @Test
    void poisonIsIsolatedAndItsNeighboursFinish() throws InterruptedException {
        Set<String> poison = Set.of("row-3", "row-17");
        try (EngineLoop loop = new EngineLoop(() -> new Fragile(poison, 1000, null), Duration.ZERO, () -> {})) {
            Map<String, String> said = run(loop, 40);
            assertThat(said).hasSize(40);
            said.forEach((id, what) -> assertThat(what)
                    .as(id)
                    .isEqualTo(
                            poison.contains(id)
                                    ? "INTERNAL: the engine broke 2 times while it ran this row alone:"
                                            + " java.lang.ArithmeticException: poison"
                                    : "ok"));
            assertThat(loop.broken()).isNull();
            assertThat(engines.get()).isLessThan(25);
            // Nothing is lost to a broken engine.
            assertThat(loop.counters().finished()).isGreaterThanOrEqualTo(38);
            assertThat(run(loop, 3).values()).containsExactly("ok", "ok", "ok");
        }
    }

    @Test
    void tooManyTogetherRunInSmallerBatches() throws InterruptedException {
        try (EngineLoop loop = new EngineLoop(() -> new Fragile(Set.of(), 3, null), Duration.ZERO, () -> {})) {
            assertThat(run(loop, 25).values()).hasSize(25).containsOnly("ok");
        }
    }

    @Test
    void aStepThatHangsIsGivenUp() throws InterruptedException {
        CountDownLatch hang = new CountDownLatch(1);
        CountDownLatch told = new CountDownLatch(1);
        try (EngineLoop loop = new EngineLoop(
                () -> new Fragile(Set.of("row-1"), 1000, hang), Duration.ofSeconds(1), told::countDown)) {
            Map<String, String> said = run(loop, 4);
            String gaveUp = "gave up: A step of the engine has made no progress for 1 s";
            assertThat(said.get("row-1")).isEqualTo(gaveUp);
            // One that came first may have ended before the other began.
            assertThat(said.values()).allMatch(what -> what.equals(gaveUp) || what.equals("ok"));
            assertThat(told.await(5, TimeUnit.SECONDS)).isTrue();
            assertThat(loop.broken()).isNotNull();
            assertThat(run(loop, 2).values())
                    .containsOnly("gave up: A step of the engine has made no progress for 1 s");
            hang.countDown();
        }
    }

    @Test
    void anEngineThatCannotBeReplacedFailsItsTasks() throws InterruptedException {
        AtomicInteger made = new AtomicInteger();
        try (EngineLoop loop = new EngineLoop(
                () -> {
                    if (made.incrementAndGet() > 1) {
                        throw new IllegalStateException("no device");
                    }
                    return new Fragile(Set.of("row-0"), 1000, null);
                },
                Duration.ZERO,
                () -> {})) {
            assertThat(run(loop, 2).get("row-1")).isEqualTo("gave up: no device");
        }
    }

    @Test
    void anEngineWhoseDeviceIsLostIsNotReplaced() throws InterruptedException {
        DeviceException loss = new DeviceException("the device is gone", true);
        AtomicInteger made = new AtomicInteger();
        try (EngineLoop loop = new EngineLoop(
                () -> {
                    made.incrementAndGet();
                    return new Fragile(Set.of(), 1000, null) {
                        @Override
                        public List<Completion> step() {
                            if (!idle()) {
                                throw loss;
                            }
                            return List.of();
                        }
                    };
                },
                Duration.ZERO,
                () -> {})) {
            assertThat(run(loop, 3).values()).containsOnly("gave up: the device is gone");
            assertThat(loop.broken()).isSameAs(loss);
            assertThat(made.get()).isEqualTo(1);
        }
    }
}
