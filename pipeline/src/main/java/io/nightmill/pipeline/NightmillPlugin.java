package io.nightmill.pipeline;

import com.codahale.metrics.Gauge;
import com.codahale.metrics.MetricRegistry;
import io.nightmill.engine.Engine.Counters;
import io.nightmill.runtime.DeviceUse;
import io.nightmill.runtime.ExecutorRuntime;
import io.nightmill.runtime.ModelSpec;
import java.io.Serializable;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.ToLongFunction;
import java.util.stream.Collectors;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.apache.spark.resource.ResourceInformation;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Starts each executor's runtime, once the driver has checked the whole job, and closes it with the executor; registers its
 * metrics, and sends its counters to the driver while it works.
 */
public final class NightmillPlugin implements SparkPlugin {
    /** The model to start with, as {@link ModelSpec#format}; without it the first task starts the runtime. */
    public static final String MODEL_KEY = "spark.nightmill.model.spec";

    private static final Logger LOG = LoggerFactory.getLogger(NightmillPlugin.class);
    private static final String IS_CHECKED = "is the job checked?";
    private static volatile boolean checked;
    private static final Map<String, Progress> LATEST = new ConcurrentHashMap<>();
    /** This executor's failed rows by code. */
    private static final Map<String, Long> FAILED = new ConcurrentHashMap<>();

    /** An executor's counters. */
    record Progress(
            String executor,
            String backend,
            long steps,
            long promptTokens,
            long cachedTokens,
            long completionTokens,
            long finished,
            int running,
            int waiting,
            int pages,
            int freePages,
            int slots,
            int freeSlots,
            long preemptions,
            long guessedTokens,
            long rightGuesses,
            DeviceUse device,
            Map<String, Long> errors)
            implements Serializable {}

    /** On an executor: a row has failed. */
    static void failed(String code) {
        FAILED.merge(code, 1L, Long::sum);
    }

    /** The latest counters of every executor that has sent any. */
    static Map<String, Progress> latest() {
        return Map.copyOf(LATEST);
    }

    /** On the driver: the job can run, executors may load its model. */
    static void jobIsChecked() {
        checked = true;
    }

    @Override
    public DriverPlugin driverPlugin() {
        checked = false;
        LATEST.clear();
        return new DriverPlugin() {
            @Override
            public Object receive(Object message) {
                if (message.equals(IS_CHECKED)) {
                    return checked;
                }
                Progress progress = (Progress) message;
                LATEST.put(progress.executor(), progress);
                return null;
            }
        };
    }

    /** Addresses of GPUs among the resources that Spark gave. */
    static List<String> gpus(Map<String, ResourceInformation> resources) {
        ResourceInformation gpu = resources.get("gpu");
        return gpu == null ? List.of() : List.of(gpu.addresses());
    }

    @Override
    public ExecutorPlugin executorPlugin() {
        return new OnExecutor();
    }

    private static final class OnExecutor implements ExecutorPlugin {
        private static final long POLL_MILLIS = 200;
        private static final int HUNG = 70;

        private @Nullable PluginContext context;

        private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, "nightmill-progress");
            thread.setDaemon(true);
            return thread;
        });

        @Override
        public void init(PluginContext context, Map<String, String> extraConf) {
            gauge(context.metricRegistry(), "promptTokens", Counters::promptTokens);
            FAILED.clear();
            gauge(context.metricRegistry(), "cachedTokens", Counters::cachedTokens);
            gauge(context.metricRegistry(), "completionTokens", Counters::completionTokens);
            gauge(context.metricRegistry(), "running", Counters::running);
            gauge(context.metricRegistry(), "waiting", Counters::waiting);
            gauge(context.metricRegistry(), "kvPages", Counters::pages);
            gauge(context.metricRegistry(), "kvPagesFree", Counters::freePages);
            gauge(context.metricRegistry(), "stateSlots", Counters::slots);
            gauge(context.metricRegistry(), "stateSlotsFree", Counters::freeSlots);
            gauge(context.metricRegistry(), "preemptions", Counters::preemptions);
            if (!context.executorID().equals("driver")) {
                // A thread that hangs cannot be stopped; Spark starts another executor. Failed tasks report first.
                ExecutorRuntime.onHang(
                        () -> clock.schedule(() -> Runtime.getRuntime().halt(HUNG), 5, TimeUnit.SECONDS));
            }
            String spec = context.conf().get(MODEL_KEY, "");
            if (!spec.isEmpty()) {
                clock.schedule(() -> startWhenChecked(context, spec), 0, TimeUnit.MILLISECONDS);
            }
            this.context = context;
            clock.scheduleWithFixedDelay(() -> report(PluginContext::send), 1, 1, TimeUnit.SECONDS);
        }

        /** Before the driver hears that a task has ended it has the counters that the task led to. */
        @Override
        public void onTaskSucceeded() {
            report(PluginContext::ask);
        }

        private static void gauge(MetricRegistry metrics, String name, ToLongFunction<Counters> value) {
            metrics.register(name, (Gauge<Long>) () -> value.applyAsLong(counters()));
        }

        /** Of all devices of this executor. */
        private static Counters counters() {
            return ExecutorRuntime.running().stream()
                    .map(ExecutorRuntime::counters)
                    .reduce(Counters.NONE, Counters::plus);
        }

        /** A model that cannot start is said here and thrown in the first task, where Spark reports it. */
        private void startWhenChecked(PluginContext context, String spec) {
            try {
                if (Boolean.TRUE.equals(context.ask(IS_CHECKED))) {
                    List<String> gpus = gpus(context.resources());
                    // Tasks may be given any of them.
                    for (int i = 0; i < Math.max(1, gpus.size()); i++) {
                        ExecutorRuntime.getOrStart(
                                ModelSpec.parse(spec), ModelFiles::localize, gpus.subList(i, gpus.size()));
                    }
                } else {
                    clock.schedule(() -> startWhenChecked(context, spec), POLL_MILLIS, TimeUnit.MILLISECONDS);
                }
            } catch (Exception e) {
                // An executor that ends while it asks has nothing to start.
                if (!clock.isShutdown()) {
                    LOG.error("Cannot start the runtime: {}", e.getMessage(), e);
                }
            }
        }

        private interface Sending {
            void send(PluginContext context, Object message) throws Exception;
        }

        private synchronized void report(Sending sending) {
            if (context == null || ExecutorRuntime.running().isEmpty()) {
                return;
            }
            String backends = ExecutorRuntime.running().stream()
                    .map(ExecutorRuntime::backendName)
                    .collect(Collectors.joining(", "));
            Counters counters = counters();
            DeviceUse device = ExecutorRuntime.running().stream()
                    .map(ExecutorRuntime::deviceUse)
                    .reduce(DeviceUse.NONE, DeviceUse::plus);
            try {
                sending.send(
                        context,
                        new Progress(
                                context.executorID(),
                                backends,
                                counters.steps(),
                                counters.promptTokens(),
                                counters.cachedTokens(),
                                counters.completionTokens(),
                                counters.finished(),
                                counters.running(),
                                counters.waiting(),
                                counters.pages(),
                                counters.freePages(),
                                counters.slots(),
                                counters.freeSlots(),
                                counters.preemptions(),
                                counters.guessedTokens(),
                                counters.rightGuesses(),
                                device,
                                Map.copyOf(FAILED)));
            } catch (Exception e) {
                LOG.debug("The driver is not listening", e);
            }
        }

        @Override
        public void shutdown() {
            clock.shutdownNow();
            ExecutorRuntime.shutdown();
        }
    }
}
