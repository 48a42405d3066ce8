package io.nightmill.jobs;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.Backend.Product;
import io.nightmill.tensor.Matrix;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The wall time of a backend's operations: exact where they return when they are done, as the host's do. */
final class OperationTimes implements InvocationHandler {
    /** An operation's calls, and how long they took together. */
    private static final class Sum {
        private long calls;
        private long nanos;
    }

    private final Backend backend;
    private final Map<String, Sum> sums = new TreeMap<>();

    OperationTimes(Backend backend) {
        this.backend = backend;
    }

    /** The backend, with each call measured. */
    Backend timed() {
        return (Backend) Proxy.newProxyInstance(Backend.class.getClassLoader(), new Class<?>[] {Backend.class}, this);
    }

    @Override
    public @Nullable Object invoke(Object proxy, Method method, Object @Nullable [] arguments) throws Throwable {
        long start = System.nanoTime();
        try {
            return method.invoke(backend, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        } finally {
            long nanos = System.nanoTime() - start;
            Sum sum = sums.computeIfAbsent(name(method, arguments), key -> new Sum());
            sum.calls++;
            sum.nanos += nanos;
        }
    }

    /** Products are told apart by their weights. */
    private static String name(Method method, Object @Nullable [] arguments) {
        for (Object argument : arguments == null ? new Object[0] : arguments) {
            if (argument instanceof Matrix w) {
                return "%s %d x %d".formatted(method.getName(), w.in(), w.out());
            }
            if (argument instanceof List<?> list && !list.isEmpty() && list.get(0) instanceof Product first) {
                int out = list.stream()
                        .mapToInt(
                                product -> ((Product) product).weights().get(0).out())
                        .sum();
                return "%s %d x %d"
                        .formatted(method.getName(), first.weights().get(0).in(), out);
            }
        }
        return method.getName();
    }

    void clear() {
        sums.clear();
    }

    /**
     * Prints what took the most.
     *
     * @param seconds of all, operations and what is between them
     */
    void print(String what, double seconds) {
        System.out.printf("%n| %s | calls | ms | share |%n|---|---|---|---|%n", what);
        long all = Math.round(1e9 * seconds);
        sums.entrySet().stream()
                .sorted((a, b) -> Long.compare(b.getValue().nanos, a.getValue().nanos))
                .limit(10)
                .forEach(entry -> line(entry.getKey(), entry.getValue().calls, entry.getValue().nanos, all));
        long inside = sums.values().stream().mapToLong(sum -> sum.nanos).sum();
        line("between operations", 0, all - inside, all);
    }

    private static void line(String name, long calls, long nanos, long all) {
        System.out.printf(Locale.ROOT, "| %s | %d | %.1f | %.0f%% |%n", name, calls, nanos / 1e6, 100.0 * nanos / all);
    }
}
