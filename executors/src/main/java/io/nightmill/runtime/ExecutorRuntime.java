package io.nightmill.runtime;

import io.nightmill.engine.Completion;
import io.nightmill.engine.ContinuousEngine;
import io.nightmill.engine.Draft;
import io.nightmill.engine.DraftModel;
import io.nightmill.engine.Engine;
import io.nightmill.engine.Limits;
import io.nightmill.engine.Request;
import io.nightmill.engine.Work;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.HostBackend;
import io.nightmill.kernels.gpu.DeviceException;
import io.nightmill.kernels.gpu.GpuBackend;
import io.nightmill.kernels.gpu.OpenClDevice;
import io.nightmill.models.Model;
import io.nightmill.models.ModelLoader;
import io.nightmill.models.ModelText;
import io.nightmill.runtime.DeviceSpec.Kind;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.KvType;
import io.nightmill.weights.Precision;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The runtime of this JVM, or of each device that it was given: a model, and the loop that steps its engine for all tasks. Tasks hand
 * requests in and are called back from the loop's thread.
 */
public final class ExecutorRuntime implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(ExecutorRuntime.class);
    private static final Map<String, ModelText> TEXTS = new HashMap<>();
    /** By the number of the device that they run on; the CPU's is {@link #ON_CPU}. */
    private static final Map<Integer, ExecutorRuntime> RUNTIMES = new ConcurrentSkipListMap<>();

    private static final int ON_CPU = -1;
    private static volatile Runnable onHang = () -> {};

    /** Where a request's result goes; called once, from the engine's thread. */
    public interface Receiver {
        void completed(Completion completion);

        /** The engine is gone; the request may be tried again elsewhere. */
        void failed(Throwable reason);
    }

    /** What tasks ask for, which after the loss of a device may not be what runs. */
    private final ModelSpec asked;

    private final Model model;
    private final EngineLoop loop;
    private final String backendName;
    private final @Nullable GpuBackend onDevice;
    private volatile boolean closed;
    private long[][] reportedLoad = new long[0][];
    private Work reportedWork = Work.NONE;

    private ExecutorRuntime(
            ModelSpec asked, ModelSpec spec, Function<String, Path> localize, ModelText text, int index) {
        long start = System.nanoTime();
        this.asked = asked;
        OpenClDevice device = spec.device().kind() == Kind.OPENCL ? OpenClDevice.open(index) : null;
        this.onDevice =
                device == null ? null : new GpuBackend(device, spec.precision().products());
        Backend backend = onDevice == null ? backend(spec.precision(), spec.threads()) : onDevice;
        this.model = ModelLoader.load(localize.apply(spec.path()), text, backend);
        Limits limits = spec.limits();
        Model drafting =
                limits.speculation() instanceof DraftModel named && ContinuousEngine.guesses(model.decoder(), limits)
                        ? ModelLoader.load(localize.apply(named.path()), backend)
                        : null;
        Draft draft = drafting == null
                ? null
                : new Draft(drafting.decoder(), drafting.text().contextLength());
        if (device != null) {
            long all = model.weightBytes() + (drafting == null ? 0 : drafting.weightBytes());
            long limit = Devices.weightLimit(spec, device);
            if (Devices.packedBytes(model, spec.precision())
                            + (drafting == null ? 0 : Devices.packedBytes(drafting, spec.precision()))
                    > limit) {
                LOG.warn(
                        "{} takes {} bytes of weights, of which {} may hold {}: the others stay in the host's memory, and are brought whenever they are used",
                        spec.path(),
                        all,
                        device.describe(),
                        limit);
                onDevice.limitWeights(limit);
            }
            warmUp(backend, model, limits.kvType());
            if (drafting != null) {
                warmUp(backend, drafting, limits.kvType());
            }
            limits = Devices.limits(spec, device);
        }
        Limits granted = limits;
        this.loop = new EngineLoop(
                () -> new ContinuousEngine(
                        backend,
                        model.decoder(),
                        text.tokenizer(),
                        text.endTokens(),
                        text.contextLength(),
                        granted,
                        draft),
                Duration.ofSeconds(spec.stepTimeout()),
                () -> onHang.run());
        this.backendName = backend.name();
        Engine.Counters counters = loop.counters();
        LOG.info(
                "Runtime for {} on {} with {} threads: {} parameters, {} bytes of weights, {} pages, {} slots, ready in {} ms",
                spec.path(),
                backendName,
                threads(spec.threads()),
                model.parameters(),
                model.weightBytes(),
                counters.pages(),
                counters.slots(),
                (System.nanoTime() - start) / 1_000_000);
    }

    /**
     * Runs a token through all layers: its weights then lie on the device and its kernels are built, or what is wrong with them is
     * said before a row is lost to it.
     */
    private static void warmUp(Backend backend, Model model, KvType kvType) {
        Limits small = new Limits(0, kvType, 1, 1);
        ContinuousEngine engine =
                new ContinuousEngine(backend, model.decoder(), null, Set.of(), Batch.PAGE_TOKENS, small);
        engine.submit(new Request("warm up", new int[] {0}, new Request.Ask.Score(List.of(), 0)));
        engine.submit(new Request("warm up", new int[] {0, 0}, new Request.Ask.Score(List.of(), 0)));
        while (!engine.idle()) {
            engine.step();
        }
    }

    /** The kernels of a device that is named, {@code opencl} or else the CPU, for a precision. */
    public static Backend backend(DeviceSpec device, Precision precision, int threads) {
        return device.kind() == Kind.OPENCL
                ? new GpuBackend(OpenClDevice.open(Devices.index(device, List.of())), precision.products())
                : backend(precision, threads);
    }

    /**
     * The CPU's kernels for a precision.
     *
     * @param threads 0 is one per core
     */
    public static HostBackend backend(Precision precision, int threads) {
        return HostBackend.of(precision.products(), threads(threads));
    }

    /** Those asked for, or one per core. */
    public static int threads(int asked) {
        return asked > 0 ? asked : Runtime.getRuntime().availableProcessors();
    }

    /**
     * This JVM's runtime on a device, started for the first to ask. A runtime that broke is replaced.
     *
     * @param localize where the model's files are, or are put, on this machine
     * @param gpus addresses of the GPUs that Spark gave the task, of which the first serves
     */
    public static synchronized ExecutorRuntime getOrStart(
            ModelSpec spec, Function<String, Path> localize, List<String> gpus) {
        int device = spec.device().kind() == Kind.OPENCL ? Devices.index(spec.device(), gpus) : ON_CPU;
        for (ExecutorRuntime other : RUNTIMES.values()) {
            if (other.isAlive() && !other.asked.equals(spec)) {
                throw new IllegalStateException(
                        "Cannot run %s: this JVM runs %s, and one model at a time".formatted(spec, other.asked));
            }
        }
        ExecutorRuntime runtime = RUNTIMES.get(device);
        if (runtime != null && runtime.isAlive()) {
            return runtime;
        }
        ExecutorRuntime started = new ExecutorRuntime(
                spec,
                afterLoss(runtime == null ? null : runtime.loop.broken(), spec),
                localize,
                text(spec.path(), localize),
                device);
        RUNTIMES.put(device, started);
        return started;
    }

    private boolean isAlive() {
        return loop.broken() == null && !closed;
    }

    /**
     * What to start after a runtime that broke: the same, unless its device was lost and the user wants something else.
     *
     * @param broken why the runtime before is no more, or null
     * @throws DeviceException if the run is to fail
     */
    static ModelSpec afterLoss(@Nullable Throwable broken, ModelSpec spec) {
        if (!(broken instanceof DeviceException loss) || !loss.lost()) {
            return spec;
        }
        switch (spec.device().onLoss()) {
            case FAIL -> throw new DeviceException(loss.getMessage() + " (--on-device-loss fail)", true);
            case CPU -> {
                LOG.warn("{}: going on with the CPU (--on-device-loss cpu)", loss.getMessage());
                return spec.on(spec.device().on(Kind.CPU));
            }
            case RETRY -> LOG.warn("{}: opening it again (--on-device-loss retry)", loss.getMessage());
        }
        return spec;
    }

    /** The text side of a model, read once per JVM and without its weights. */
    public static ModelText text(String path, Function<String, Path> localize) {
        synchronized (TEXTS) {
            return TEXTS.computeIfAbsent(path, key -> ModelLoader.loadText(localize.apply(key)));
        }
    }

    /** What to do when a step hangs, after its tasks were failed: nothing, unless somebody can give up the JVM. */
    public static void onHang(Runnable action) {
        onHang = action;
    }

    /** The runtimes that have started; does not wait for one that is starting. */
    public static Collection<ExecutorRuntime> running() {
        return RUNTIMES.values();
    }

    public static synchronized void shutdown() {
        RUNTIMES.values().forEach(ExecutorRuntime::close);
        RUNTIMES.clear();
    }

    public Model model() {
        return model;
    }

    /** Name of the kernels, which results may depend on in their last bits. */
    public String backendName() {
        return backendName;
    }

    public Engine.Counters counters() {
        return loop.counters();
    }

    /** How this runtime's device was used so far. */
    public DeviceUse deviceUse() {
        return onDevice == null ? DeviceUse.NONE : DeviceUse.of(onDevice);
    }

    /** What steps took since the last call. */
    public synchronized Work takeWork() {
        Work now = loop.counters().work();
        Work taken = now.minus(reportedWork);
        reportedWork = now;
        return taken;
    }

    /** Choices of each expert since the last call, {@code [layers with experts][experts]}: each is reported once. */
    public synchronized long[][] takeExpertLoad() {
        long[][] now = loop.expertLoad();
        long[][] taken = new long[now.length][];
        for (int layer = 0; layer < now.length; layer++) {
            taken[layer] = now[layer].clone();
            for (int e = 0; layer < reportedLoad.length && e < taken[layer].length; e++) {
                taken[layer][e] -= reportedLoad[layer][e];
            }
        }
        reportedLoad = now;
        return taken;
    }

    public void submit(Request request, Receiver receiver) {
        loop.submit(request, receiver);
    }

    /** Forgets a request of a task that is gone. */
    public void cancel(Request request) {
        loop.cancel(request);
    }

    @Override
    public void close() {
        closed = true;
        loop.close();
    }
}
