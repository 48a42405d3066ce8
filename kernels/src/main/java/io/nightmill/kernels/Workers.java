package io.nightmill.kernels;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * A fixed team of threads that runs the tasks of one operation at a time. A decode step has hundreds of short operations,
 * so a worker spins briefly before it parks. Which thread runs a task never changes the task's result.
 */
final class Workers implements AutoCloseable {
    private static final int SPINS = 2_000;

    /** One call of {@link #run}. A class, because two rounds are equal only if they are the same. */
    private static final class Round {
        final int tasks;
        final IntConsumer body;
        final AtomicInteger next = new AtomicInteger();
        final AtomicInteger left;

        Round(int tasks, IntConsumer body) {
            this.tasks = tasks;
            this.body = body;
            this.left = new AtomicInteger(tasks);
        }
    }

    private final Thread[] helpers;
    private volatile @Nullable Round round;
    private volatile @Nullable Throwable failure;
    private volatile boolean closed;

    Workers(int threads) {
        helpers = new Thread[threads - 1];
        for (int i = 0; i < helpers.length; i++) {
            helpers[i] = new Thread(this::help, "nightmill-worker-" + (i + 1));
            helpers[i].setDaemon(true);
            helpers[i].start();
        }
    }

    int threads() {
        return helpers.length + 1;
    }

    /** Runs {@code body} for 0 to {@code tasks - 1} and returns when all are done. Called by one thread at a time. */
    void run(int tasks, IntConsumer body) {
        if (helpers.length == 0 || tasks <= 1) {
            for (int task = 0; task < tasks; task++) {
                body.accept(task);
            }
            return;
        }
        Round current = new Round(tasks, body);
        failure = null;
        round = current;
        for (Thread helper : helpers) {
            LockSupport.unpark(helper);
        }
        work(current);
        while (current.left.get() > 0) {
            Thread.onSpinWait();
        }
        round = null;
        Throwable thrown = failure;
        if (thrown instanceof Error error) {
            throw error;
        }
        if (thrown != null) {
            throw (RuntimeException) thrown;
        }
    }

    private void work(Round current) {
        for (int task = current.next.getAndIncrement(); task < current.tasks; task = current.next.getAndIncrement()) {
            try {
                current.body.accept(task);
            } catch (RuntimeException | Error e) {
                failure = e;
            } finally {
                current.left.decrementAndGet();
            }
        }
    }

    private void help() {
        Round done = null;
        while (!closed) {
            Round current = round;
            for (int i = 0; i < SPINS && (current == null || current.equals(done)); i++) {
                Thread.onSpinWait();
                current = round;
            }
            if (current == null || current.equals(done)) {
                LockSupport.park(this);
            } else {
                work(current);
                done = current;
            }
        }
    }

    @Override
    public void close() {
        closed = true;
        for (Thread helper : helpers) {
            LockSupport.unpark(helper);
        }
    }
}
