package io.nightmill.kernels.gpu;

import io.nightmill.kernels.Activation;
import io.nightmill.kernels.Backend;
import io.nightmill.kernels.FastWeights;
import io.nightmill.kernels.HostSampler;
import io.nightmill.kernels.Products;
import io.nightmill.kernels.Recurrence;
import io.nightmill.kernels.Unpack;
import io.nightmill.kernels.Update;
import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import io.nightmill.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The operations on a device: every tensor, state and weight lives there, and kernels are queued without waiting. */
public final class GpuBackend implements Backend {
    /** Values of a slice of a product's inputs; its sums are added in order. */
    private static final int SLICE = 256;

    private static final int MOST_SLICES = 32;
    /** So many rows fill half a tile of productTile.cl. */
    private static final int MANY = 64;

    private static final int TILE_ROWS = 128;
    /** Rows and slices of productMatrixFew.cl, and what it and productMatrixMany.cl take of the inputs at once. */
    private static final int FEW_ROWS = 32;

    private static final int WARPS = 8;
    private static final int MATRIX_STEP = 32;
    /** Bytes of attention's segments before they are added. */
    private static final long MOST_PARTIALS = 1 << 26;
    /** Values of packed weights that are float32 at a time: 64 MB. */
    private static final int MOST_WIDENED = 1 << 24;
    /** Inputs that blocks.cl unpacks together. */
    private static final int UNPACKED = 32;
    /** Each of the likeliest tokens takes a pass over the row. */
    private static final int MOST_TOP = 256;

    private final Device device;
    private final Device.Forms forms;
    private final Products arithmetic;
    private final DeviceWeights weights;
    /** Memory for what a call needs on the device beside its tensors, by purpose; it grows. */
    private final Map<String, Device.Memory> pools = new HashMap<>();

    private final Map<List<Integer>, Device.View> turns = new HashMap<>();
    private @Nullable DeviceBatch batch;

    /** With exact products. */
    public GpuBackend(Device device) {
        this(device, device.forms(), Products.EXACT);
    }

    /** @param arithmetic of which {@code INT8} and {@code INT4} round weights only, to Q8_0 and Q4_0 */
    public GpuBackend(Device device, Products arithmetic) {
        this(device, device.forms(), arithmetic);
    }

    /** @param forms which may be another device's, to be tried */
    public GpuBackend(Device device, Device.Forms forms, Products arithmetic) {
        this.device = device;
        this.forms = forms;
        this.arithmetic = arithmetic;
        this.weights = new DeviceWeights(device);
    }

    private record Floats(Device.Memory memory, long size) implements Buffer {}

    /** Pages of keys or values, and the factors of those in bytes. */
    private record Pages(Device.Memory memory, Device.@Nullable Memory factors, KvType type, long size)
            implements Buffer {}

    private record DeviceRoutes(
            GpuBackend backend,
            int tokens,
            int topK,
            int expertCount,
            Map<String, Device.View> views,
            Map<Integer, Device.View> tables)
            implements Routes {
        /** How many tiles of so many rows there are at most. */
        int mostTiles(int each) {
            int choices = tokens * topK;
            return choices / each + Math.min(expertCount, choices);
        }

        /** The rows of each expert in tiles of so many. */
        Device.View tiles(int each) {
            return tables.computeIfAbsent(each, rows -> backend.cut(this, rows));
        }

        @Override
        public int[] experts() {
            int[] values = new int[tokens * topK];
            backend.read(views.get("experts")).asIntBuffer().get(values);
            return values;
        }

        @Override
        public float[] weights() {
            float[] values = new float[tokens * topK];
            backend.read(views.get("weights")).asFloatBuffer().get(values);
            return values;
        }
    }

    @Override
    public String name() {
        return device.describe()
                + (arithmetic == Products.EXACT ? "" : "+" + arithmetic.name().toLowerCase(Locale.ROOT));
    }

    /**
     * From now on no more than so many bytes of the device are for weights: others stay in the host's memory, and are brought when they are
     * used.
     */
    public void limitWeights(long bytes) {
        weights.limit(bytes);
    }

    /** What it took so far to bring weights that the device does not hold. Any thread may ask. */
    public StreamedWeights.Cost streamed() {
        return weights.cost();
    }

    /** What each kernel took so far. Any thread may ask. */
    public List<Device.KernelTime> kernelTimes() {
        return device.kernelTimes();
    }

    public Device.Traffic traffic() {
        return device.traffic();
    }

    @Override
    public Buffer allocate(long values) {
        return new Floats(device.allocate(4 * values), values);
    }

    @Override
    public State allocate(State.Spec spec, int rows, KvType type) {
        long values = (long) rows * spec.width();
        Buffer buffer;
        if (spec instanceof Paged paged) {
            long bytes = values * (type == KvType.F32 ? 4 : type == KvType.BF16 ? 2 : 1);
            long groups = (long) rows * paged.heads() * KvType.groups(paged.headWidth());
            Device.Memory factors = type == KvType.INT8 ? device.allocate(4 * groups) : null;
            buffer = new Pages(device.allocate(bytes), factors, type, values);
        } else {
            buffer = allocate(values);
        }
        return new State(spec, new Tensor(buffer, 0, rows, spec.width()));
    }

    private static Device.@Nullable View view(@Nullable Tensor tensor) {
        if (tensor == null) {
            return null;
        }
        long bytes = 4L * tensor.rows() * tensor.width();
        return new Device.View(((Floats) tensor.buffer()).memory, 4 * tensor.offset(), bytes);
    }

    private static ByteBuffer bytes(int count) {
        return ByteBuffer.allocate(count).order(ByteOrder.nativeOrder());
    }

    private ByteBuffer read(Device.View view) {
        ByteBuffer bytes = bytes(Math.toIntExact(view.bytes()));
        device.read(view.memory(), view.at(), bytes);
        return bytes;
    }

    /** Memory for one purpose, good until the next call for it. */
    private Device.View pool(String purpose, long bytes) {
        Device.Memory memory = pools.get(purpose);
        if (memory == null || memory.bytes() < bytes) {
            memory = device.allocate(Math.max(1024, 2 * bytes));
            pools.put(purpose, memory);
        }
        return new Device.View(memory, 0, bytes);
    }

    private Device.View ints(String purpose, int[] values) {
        Device.View view = pool(purpose, 4L * values.length);
        ByteBuffer bytes = bytes(4 * values.length);
        bytes.asIntBuffer().put(values);
        device.write(view.memory(), 0, bytes);
        return view;
    }

    private Device.View floats(String purpose, float[] values) {
        Device.View view = pool(purpose, 4L * values.length);
        ByteBuffer bytes = bytes(4 * values.length);
        bytes.asFloatBuffer().put(values);
        device.write(view.memory(), 0, bytes);
        return view;
    }

    @SuppressWarnings("ReferenceEquality")
    private DeviceBatch on(Batch now) {
        if (batch == null || batch.batch() != now) {
            batch = DeviceBatch.of(now, ints("batch", DeviceBatch.ints(now)));
        }
        return batch;
    }

    @Override
    public void upload(Tensor out, float[] values) {
        int count = out.rows() * out.width();
        ByteBuffer bytes = bytes(4 * count);
        bytes.asFloatBuffer().put(values, 0, count);
        device.write(((Floats) out.buffer()).memory, 4 * out.offset(), bytes);
    }

    @Override
    public void download(Tensor in, float[] values) {
        read(view(in)).asFloatBuffer().get(values, 0, in.rows() * in.width());
    }

    private static Launch rows(String entry, Tensor out, Tensor x) {
        return new Launch(RowKernels.class, entry)
                .set("out", view(out))
                .set("x", view(x))
                .set("width", x.width())
                .set("size", Math.multiplyExact(x.rows(), x.width()))
                .lanes((long) x.rows() * x.width());
    }

    @Override
    public void gather(Tensor out, Tensor in, int[] rows) {
        int size = Math.multiplyExact(rows.length, in.width());
        device.run(rows("gather", out, in).set("rows", ints("rows", rows)).eachOf(size));
    }

    @Override
    public void copyRows(State state, int from, int to, int count) {
        Tensor pool = state.pool();
        long values = pool.width();
        if (pool.buffer() instanceof Pages pages) {
            long each = values * pages.memory.bytes() / pages.size;
            device.copy(pages.memory, from * each, pages.memory, to * each, count * each);
            if (pages.factors != null) {
                long factors = values * pages.factors.bytes() / pages.size;
                device.copy(pages.factors, from * factors, pages.factors, to * factors, count * factors);
            }
            return;
        }
        Device.Memory memory = ((Floats) pool.buffer()).memory;
        long at = 4 * pool.offset();
        device.copy(memory, at + 4 * from * values, memory, at + 4 * to * values, 4 * count * values);
    }

    @Override
    public void copyColumns(Tensor out, int outColumn, Tensor in, int inColumn, int count) {
        int size = Math.multiplyExact(in.rows(), count);
        device.run(rows("copyColumns", out, in)
                .set("outWidth", out.width())
                .set("outColumn", outColumn)
                .set("inColumn", inColumn)
                .set("inner", count)
                .eachOf(size));
    }

    /** Whether rows are rounded before they meet a weight: a property of the weight alone. */
    private boolean roundsRows(Matrix w) {
        return arithmetic == Products.BF16 && Products.rounds(w);
    }

    /** @param format in which the weights are on the device */
    private static Launch product(String entry, Tensor out, Matrix w, Format format) {
        return shape(new Launch(ProductKernels.class, entry).set("out", view(out)), w, format);
    }

    private static Launch shape(Launch launch, Matrix w, Format format) {
        boolean scaled = w.scales() != null && format == w.format();
        return launch.set("format", format.ordinal())
                .set("blockValues", DeviceWeights.blockValues(format))
                .set("blockWords", DeviceWeights.blockWords(format))
                .set("in", w.in())
                .set("allOuts", w.out())
                .set("scaleRows", scaled ? w.scales().blockOut() : 0)
                .set("scaleColumns", scaled ? w.scales().blockIn() : 1);
    }

    private static Launch part(Launch launch, DeviceWeights.Uploaded uploaded, DeviceWeights.Part part) {
        return launch.set("w", part.words())
                .set("firstOutput", part.firstOutput())
                .set("outs", part.outs())
                .set("scales", uploaded.scales())
                .set("scalesAt", uploaded.scalesEach())
                .set("placeOf", part.placeOf())
                .set("placed", part.placeOf() != null);
    }

    @Override
    public void embed(Tensor out, Matrix table, int[] ids, float scale) {
        DeviceWeights.Uploaded uploaded = weights.resident(List.of(table), table.format());
        if (uploaded == null) {
            // A few rows of what does not fit are less than all of it.
            float[] rows = new float[Math.multiplyExact(ids.length, table.in())];
            for (int i = 0; i < ids.length; i++) {
                Unpack.row(table, ids[i], rows, i * table.in());
            }
            upload(out, rows);
            scale(out, out, scale);
            return;
        }
        Device.View tokens = ints("ids", ids);
        int size = Math.multiplyExact(ids.length, table.in());
        for (DeviceWeights.Part part : uploaded.parts()) {
            device.run(part(product("embed", out, table, table.format()), uploaded, part)
                    .set("ids", tokens)
                    .set("factor", scale)
                    .eachOf(size));
        }
    }

    @Override
    public void matmul(Tensor x, @Nullable Routes routes, List<Product> products) {
        Operand plain = new Operand(view(x), x.width(), false);
        boolean rounding = products.stream()
                .anyMatch(product -> roundsRows(product.weights().get(0)));
        Operand rounded = rounding ? rounded(x) : plain;
        for (Product product : products) {
            Matrix w = product.weights().get(0);
            Tensor out = product.out();
            if (x.width() != w.in() || out.rows() != x.rows() || product.column() + w.out() > out.width()) {
                throw new IllegalArgumentException("Cannot multiply %s by %s into %s at column %d"
                        .formatted(x.shape(), w.shape(), out.shape(), product.column()));
            }
            Operand operand = roundsRows(w) ? rounded : plain;
            Format format = DeviceWeights.format(w, arithmetic);
            Launch launch = product("product", out, w, format)
                    .set("column", product.column())
                    .set("bias", view(product.biases()))
                    .set("has", product.biases() != null)
                    .set("xStep", 0)
                    .set("outStep", 0)
                    .set("grouping", routes != null);
            multiply(launch, out, x.rows(), operand, format, product.weights(), (DeviceRoutes) routes);
        }
    }

    /**
     * Rows as products read them.
     *
     * @param width values, or pairs of bfloat16, from one row to the next
     */
    private record Operand(Device.View view, int width, boolean pairs) {}

    /** Rows rounded to bfloat16, until the next call. */
    private Operand rounded(Tensor x) {
        if (forms != Device.Forms.MATRIX) {
            Device.View view = pool("rounded", 4L * x.rows() * x.width());
            device.run(new Launch(ProductKernels.class, "rounded")
                    .set("out", view)
                    .set("x", view(x))
                    .eachOf(Math.multiplyExact(x.rows(), x.width())));
            return new Operand(view, x.width(), false);
        }
        int width = (x.width() + MATRIX_STEP - 1) / MATRIX_STEP * (MATRIX_STEP / 2);
        Device.View view = pool("pairs", 4L * x.rows() * width);
        device.run(new Launch(ProductKernels.class, "pairs")
                .set("words", view)
                .set("x", view(x))
                .set("in", x.width())
                .set("outWidth", width)
                .eachOf(Math.multiplyExact(x.rows(), width)));
        return new Operand(view, width, true);
    }

    private static int ceilDiv(int count, int each) {
        return (count + each - 1) / each;
    }

    /** @param routes of experts; without it, each of several weights meets all rows */
    private void multiply(
            Launch launch,
            Tensor out,
            int rows,
            Operand x,
            Format format,
            List<Matrix> list,
            @Nullable DeviceRoutes routes) {
        Matrix w = list.get(0);
        boolean byHead = routes == null && list.size() > 1;
        boolean many = !byHead && rows / list.size() >= MANY;
        boolean gpu = forms.compareTo(Device.Forms.GPU) >= 0;
        boolean plain = format.ordinal() <= Format.BF16.ordinal();
        // Experts that are brought in turns are where their table says.
        boolean widened = forms != Device.Forms.JAVA
                && many
                && !plain
                && (routes == null || weights.resident(list, format) != null);
        boolean tiled = !x.pairs && gpu && many && (plain || widened);
        boolean wide = forms == Device.Forms.CPU && (format == Format.F32 || format == Format.BF16);
        int each = x.pairs && !many ? FEW_ROWS : x.pairs || tiled ? TILE_ROWS : ProductKernels.ROWS;
        int tiles = routes == null ? ceilDiv(rows, each) * (byHead ? list.size() : 1) : routes.mostTiles(each);
        int slice = x.pairs
                ? ceilDiv(w.in(), WARPS * MATRIX_STEP) * MATRIX_STEP
                : Math.max(SLICE, (w.in() / MOST_SLICES + SLICE - 1) / SLICE * SLICE);
        launch.set("x", x.view)
                .set("xWidth", x.width)
                .set("outWidth", out.width())
                .set("rows", rows)
                .set("slice", slice)
                .set("tiles", routes == null ? null : routes.tiles(each));
        weights.each(list, format, routes == null ? null : routes::experts, (part, uploaded) -> {
            part(launch, uploaded, part);
            // Rows are of one weight or another; few rows meet few weights. Experts that are brought in turns count
            // once.
            double share = part.placeOf() == null ? (double) part.outs() / w.out() : 0;
            double met = Math.min(1, (double) rows / list.size());
            launch.work(2.0 * rows * w.in() * w.out() * share, part.words().bytes() * met);
            if (widened) {
                widen(launch, rows, tiles, list, format, part, uploaded);
                return;
            }
            int panels = ceilDiv(part.outs(), DeviceKernel.GROUP);
            if (x.pairs && many) {
                launch.groups(ceilDiv(panels, 2), tiles, 1).tuned("MatrixMany", 32 * WARPS, 1);
            } else if (x.pairs) {
                launch.groups(panels, tiles, 1)
                        .tuned("MatrixFew", 32 * WARPS, 1)
                        .room("partial", WARPS * ProductKernels.ROWS * DeviceKernel.GROUP);
            } else if (tiled) {
                launch.groups(panels, tiles, 1).tuned("Tile", 16, 16);
            } else if (wide) {
                launch.groups(tiles, panels, 1).tuned("Wide", 4, 1);
            } else if (gpu && inBlocks(w, format)) {
                launch.groups(panels, tiles, 1).tuned("Blocks", DeviceKernel.GROUP, ProductKernels.SLOTS);
            } else if (forms == Device.Forms.CPU && inBlocks(w, format)) {
                launch.groups(tiles, panels, 1).tuned("BlocksWide", 4, 1);
            } else {
                launch.groups(panels, tiles, ProductKernels.SLOTS);
            }
            device.run(launch);
        });
    }

    /** Whether blocks.cl unpacks a weight. */
    private static boolean inBlocks(Matrix w, Format format) {
        boolean scaled = w.scales() != null && format == w.format();
        return format != Format.F32
                && format != Format.BF16
                && w.in() % UNPACKED == 0
                && (!scaled || format == Format.F8_E4M3 && w.scales().blockIn() % UNPACKED == 0);
    }

    /**
     * For many rows, blocks are unpacked once for all of them: some panels of one weight, or some of several weights, at a time become
     * float32, and are multiplied as such.
     */
    private void widen(
            Launch product,
            int rows,
            int tiles,
            List<Matrix> list,
            Format format,
            DeviceWeights.Part part,
            DeviceWeights.Uploaded uploaded) {
        Matrix w = list.get(0);
        int panelValues = Math.multiplyExact(DeviceKernel.GROUP, w.in());
        int panelsEach = ceilDiv(part.outs(), DeviceKernel.GROUP);
        long panelBytes = part.words().bytes() / panelsEach / list.size();
        // Units are panels, or the experts of which some are multiplied while the others are not there.
        boolean byExpert = list.size() > 1;
        int units = byExpert ? list.size() : panelsEach;
        int unitPanels = byExpert ? panelsEach : 1;
        int atOnce = Math.max(1, MOST_WIDENED / panelValues / unitPanels);
        for (int first = 0; first < units; first += atOnce) {
            int count = Math.min(atOnce, units - first);
            int panels = count * unitPanels;
            int firstOutput = part.firstOutput() + (byExpert ? 0 : first * DeviceKernel.GROUP);
            int outs = byExpert
                    ? part.outs()
                    : Math.min(part.outs() - first * DeviceKernel.GROUP, count * DeviceKernel.GROUP);
            Device.View stored = new Device.View(
                    part.words().memory(), part.words().at() + first * unitPanels * panelBytes, panels * panelBytes);
            Device.View values = pool("widened", 4L * panels * panelValues);
            Launch widen = new Launch(ProductKernels.class, "widen")
                    .set("out", values)
                    .set("firstWeight", byExpert ? first : 0)
                    .set("panelsEach", byExpert ? panelsEach : count);
            shape(widen, w, format);
            part(widen, uploaded, new DeviceWeights.Part(stored, firstOutput, outs, null));
            widen.eachOf(Math.multiplyExact(panels, panelValues));
            if (inBlocks(w, format)) {
                // An item takes blocks.cl's 32 inputs of one output, or of 16.
                boolean gpu = forms != Device.Forms.CPU;
                widen.lanes((long) panels * panelValues / UNPACKED / (gpu ? 1 : 16))
                        .tuned(gpu ? "Blocks" : "BlocksWide", DeviceKernel.GROUP, 1);
            }
            device.run(widen);
            shape(product, w, Format.F32);
            Device.View places = byExpert ? places(units, first, count) : null;
            part(product, uploaded, new DeviceWeights.Part(values, firstOutput, outs, places));
            product.work(2.0 * rows * w.in() * outs * (byExpert ? (double) count / units : 1), stored.bytes());
            if (forms == Device.Forms.CPU) {
                device.run(
                        product.groups(tiles, byExpert ? panelsEach : count, 1).tuned("Wide", 4, 1));
            } else {
                device.run(
                        product.groups(byExpert ? panelsEach : count, tiles, 1).tuned("Tile", 16, 16));
            }
        }
    }

    /** Where so many weights from {@code first} on are, if they are all that is there. */
    private Device.View places(int weights, int first, int count) {
        return turns.computeIfAbsent(List.of(weights, first, count), turn -> {
            int[] places = new int[weights];
            Arrays.fill(places, -1);
            for (int i = 0; i < count; i++) {
                places[first + i] = i;
            }
            return ints("places of " + turn, places);
        });
    }

    @Override
    public void headMatmul(Tensor out, Tensor x, List<Matrix> heads) {
        Format format = heads.get(0).format();
        Launch launch = product("product", out, heads.get(0), format)
                .set("column", 0)
                .set("bias", null)
                .set("has", false)
                .set("xStep", x.width() / heads.size())
                .set("outStep", out.width() / heads.size())
                .set("grouping", 2);
        Operand operand = new Operand(view(x), x.width(), false);
        multiply(launch, out, x.rows(), operand, format, heads, null);
    }

    @Override
    public void rmsNorm(Tensor out, Tensor x, @Nullable Tensor weight, float eps) {
        device.run(rows("rmsNorm", out, x)
                .set("weight", view(weight))
                .set("has", weight != null)
                .set("yRows", weight == null ? 1 : weight.rows())
                .set("scale", eps)
                .groups(x.rows(), 1, 1));
    }

    @Override
    public void layerNorm(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, float eps) {
        device.run(rows("layerNorm", out, x)
                .set("weight", view(weight))
                .set("bias", view(bias))
                .set("has", bias != null)
                .set("yRows", weight.rows())
                .set("scale", eps)
                .groups(x.rows(), 1, 1));
    }

    @Override
    public void add(Tensor out, Tensor x, Tensor y, float scale) {
        device.run(rows("add", out, x).set("y", view(y)).set("yRows", y.rows()).set("scale", scale));
    }

    @Override
    public void multiply(Tensor out, Tensor x, Tensor y) {
        device.run(rows("multiply", out, x)
                .set("y", view(y))
                .set("yRows", y.rows())
                .set("yWidth", y.width()));
    }

    @Override
    public void mix(Tensor out, Tensor x, Tensor y, Tensor mix) {
        device.run(
                rows("mix", out, x).set("y", view(y)).set("weight", view(mix)).set("yRows", mix.rows()));
    }

    @Override
    public void scale(Tensor out, Tensor x, float factor) {
        device.run(rows("scale", out, x).set("scale", factor));
    }

    @Override
    public void dotRows(Tensor out, Tensor x, Tensor y) {
        device.run(rows("dotRows", out, x).set("y", view(y)).groups(x.rows(), 1, 1));
    }

    @Override
    public void softmax(Tensor out, Tensor x) {
        device.run(rows("softmax", out, x).groups(x.rows(), 1, 1));
    }

    @Override
    public void activate(Tensor out, Tensor x, Activation activation) {
        device.run(rows("activate", out, x).set("function", activation.ordinal()));
    }

    @Override
    public void glu(Tensor out, Tensor x, Glu glu) {
        int size = Math.multiplyExact(out.rows(), out.width());
        device.run(rows("glu", out, x)
                .set("inner", out.width())
                .set("interleaved", glu.interleaved())
                .set("scale", glu.limit())
                .set("low", glu.alpha())
                .set("function", glu.activation().ordinal())
                .eachOf(size));
    }

    @Override
    public void clamp(Tensor x, float low, float high) {
        device.run(rows("clamp", x, x).set("low", low).set("high", high));
    }

    @Override
    public void softcap(Tensor x, float cap) {
        device.run(rows("softcap", x, x).set("scale", cap));
    }

    @Override
    public void rotary(Tensor table, Batch batch, int from, int to, float[] frequencies, float factor, int period) {
        device.run(on(batch)
                .in(new Launch(SequenceKernels.class, "rotary"))
                .set("out", view(table))
                .set("x", floats("frequencies", frequencies))
                .set("width", frequencies.length)
                .set("from", from)
                .set("period", period)
                .set("scale", factor)
                .eachOf((to - from) * frequencies.length));
    }

    @Override
    public void started(Tensor out, Batch batch) {
        device.run(on(batch)
                .in(new Launch(SequenceKernels.class, "started"))
                .set("out", view(out))
                .eachOf(batch.size()));
    }

    @Override
    public void rope(Tensor x, Tensor table, int stride, int offset, boolean interleaved) {
        int size = x.rows() * (x.width() / stride) * (table.width() / 2);
        device.run(rows("rope", x, x)
                .set("y", view(table))
                .set("stride", stride)
                .set("offset", offset)
                .set("rotary", table.width())
                .set("interleaved", interleaved)
                .eachOf(size));
    }

    /** @param kind {@code keys} or {@code values}, as the arrays of {@link AttentionKernels} are called */
    private static Launch pages(Launch launch, String kind, State state) {
        Pages pages = (Pages) state.pool().buffer();
        Device.View all = new Device.View(pages.memory, 0, pages.memory.bytes());
        String upper = kind.equals("keys") ? "Keys" : "Values";
        launch.set(kind, pages.type == KvType.F32 ? all : null)
                .set("short" + upper, pages.type == KvType.BF16 ? all : null)
                .set("byte" + upper, pages.type == KvType.INT8 ? all : null);
        Device.Memory factors = pages.factors;
        String name = kind.equals("keys") ? "keyFactors" : "valueFactors";
        return launch.set(name, factors == null ? null : new Device.View(factors, 0, factors.bytes()))
                .set("type", pages.type.ordinal());
    }

    private static boolean transposed(State state) {
        return ((Paged) state.spec()).role() != Role.VALUES;
    }

    @Override
    public void append(State state, Tensor rows, Batch batch) {
        Paged spec = (Paged) state.spec();
        boolean bytes = ((Pages) state.pool().buffer()).type == KvType.INT8;
        int each = bytes ? KvType.groups(spec.headWidth()) : spec.headWidth();
        int size = Math.multiplyExact(batch.size(), spec.heads() * each);
        Launch launch = on(batch).in(new Launch(AttentionKernels.class, "append"));
        device.run(pages(launch, "keys", state)
                .set("x", view(rows))
                .set("heads", spec.heads())
                .set("headWidth", spec.headWidth())
                .set("transposed", transposed(state))
                .eachOf(size));
    }

    @Override
    public void attend(Tensor out, Tensor query, State keys, State values, Attention a, Batch batch) {
        if (a.keyDim() > AttentionKernels.MOST_KEYS || a.valueDim() > AttentionKernels.MOST_VALUES) {
            throw new IllegalArgumentException("Cannot attend to keys of %d and values of %d on %s: at most %d and %d"
                    .formatted(
                            a.keyDim(),
                            a.valueDim(),
                            device.describe(),
                            AttentionKernels.MOST_KEYS,
                            AttentionKernels.MOST_VALUES));
        }
        DeviceBatch where = on(batch);
        Launch launch = where.in(new Launch(AttentionKernels.class, "attend"));
        pages(launch, "values", values);
        int group = a.heads() / a.kvHeads();
        Device.View tiles =
                where.tiles().computeIfAbsent(group, key -> ints("tiles of " + group, DeviceBatch.tiles(batch, group)));
        int segments = ceilDiv(where.longest(), AttentionKernels.SEGMENT);
        pages(launch, "keys", keys)
                .set("segments", segments)
                .set("partials", null)
                .set("out", view(out))
                .set("x", view(query))
                .set("sinks", view(a.sinks()))
                .set("has", a.sinks() != null)
                .set("heads", a.heads())
                .set("kvHeads", a.kvHeads())
                .set("keyDim", a.keyDim())
                .set("valueDim", a.valueDim())
                .set("valueWidth", ((Paged) values.spec()).headWidth())
                .set("valuesTransposed", transposed(values))
                .set("window", a.window())
                .set("lead", a.lead())
                .set("scale", a.scale())
                .set("softcap", a.softcap())
                .set("tiles", tiles)
                .room("query", AttentionKernels.ROWS * a.keyDim())
                .room("sums", AttentionKernels.ROWS * a.valueDim());
        int count = (int) (tiles.bytes() / 8);
        if (segments <= 1) {
            device.run(launch.groups(count, a.kvHeads(), 1));
            return;
        }
        long each = 4L * a.kvHeads() * segments * AttentionKernels.ROWS * (a.valueDim() + 2);
        int atOnce = (int) Math.max(1, Math.min(count, MOST_PARTIALS / each));
        Launch merge = where.in(new Launch(AttentionKernels.class, "merge"))
                .set("out", view(out))
                .set("heads", a.heads())
                .set("kvHeads", a.kvHeads())
                .set("valueDim", a.valueDim())
                .set("segments", segments);
        for (int first = 0; first < count; first += atOnce) {
            int now = Math.min(atOnce, count - first);
            Device.View some = new Device.View(tiles.memory(), tiles.at() + 8L * first, 8L * now);
            Device.View partials = pool("partials", each * now);
            launch.set("tiles", some).set("partials", partials);
            device.run(launch.groups(now, a.kvHeads() * segments, 1));
            device.run(merge.set("tiles", some).set("partials", partials).groups(now, a.kvHeads(), 1));
        }
    }

    private Launch sequences(String entry, Tensor out, State state, Batch batch) {
        return on(batch)
                .in(new Launch(SequenceKernels.class, entry))
                .set("out", view(out))
                .set("state", view(state.pool()))
                .set("stateWidth", state.pool().width());
    }

    private Launch columns(String entry, Tensor out, State state, Batch batch) {
        return sequences(entry, out, state, batch)
                .set("width", out.width())
                .lanes((long) batch.spans().size() * out.width());
    }

    @Override
    public void causalConv(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, State tail, Batch batch) {
        device.run(columns("causalConv", out, tail, batch)
                .set("x", view(x))
                .set("weight", view(weight))
                .set("taps", weight.width())
                .set("bias", view(bias))
                .set("has", bias != null));
    }

    @Override
    public void shift(Tensor out, Tensor x, State last, Batch batch) {
        device.run(columns("shift", out, last, batch).set("x", view(x)));
    }

    @Override
    public void scan(Tensor out, Tensor decay, Tensor x, State state, Batch batch) {
        device.run(columns("scan", out, state, batch).set("x", view(x)).set("decay", view(decay)));
    }

    @Override
    public void selectiveScan(Tensor out, Tensor x, Tensor dt, Tensor a, Tensor b, Tensor c, State state, Batch batch) {
        device.run(columns("selectiveScan", out, state, batch)
                .set("x", view(x))
                .set("dt", view(dt))
                .set("a", view(a))
                .set("b", view(b))
                .set("c", view(c))
                .set("states", a.rows()));
    }

    @Override
    public void recur(Tensor out, Update u, Recurrence r, State state, Batch batch) {
        int tokens = batch.size();
        int spans = batch.spans().size();
        boolean byKey = r.decay() == Recurrence.Decay.KEY;
        boolean corrects = r.rule() != Recurrence.Rule.ADD;
        int perHead = Math.multiplyExact(tokens, r.pairs());
        int someHeads = Math.toIntExact(Math.max(1, Math.min(r.heads(), MOST_PARTIALS / (4L * perHead))));
        long seen = 4L * perHead * someHeads;
        long rows = 4L * tokens * r.heads() * r.keyDim();
        UnaryOperator<Launch> with = launch -> update(on(batch).in(launch), u)
                .set("out", view(out))
                .set("state", view(state.pool()))
                .set("stateWidth", state.pool().width())
                .set("heads", r.heads())
                .set("queryHeads", r.queryHeads())
                .set("keyHeads", r.keyHeads())
                .set("keyDim", r.keyDim())
                .set("valueDim", r.valueDim())
                .set("scale", r.scale())
                .set("chunk", r.chunk())
                .set("writes", r.writes())
                .set("pairs", r.pairs())
                .set("keysAt", r.keys(0))
                .set("valuesAt", r.values(0))
                .set("decaysAt", r.decays(0))
                .set("decayWidth", r.decayWidth())
                .set("decayKind", r.decay().ordinal())
                .set("decayRows", u.decay() == null ? 1 : u.decay().rows())
                .set("rule", r.rule().ordinal())
                .set("beta", view(u.beta()))
                .set("hasBeta", u.beta() != null)
                .set("probe", view(u.probe()))
                .set("erase", view(u.erase()))
                .set("bonus", view(u.bonus()))
                .set("hasBonus", u.bonus() != null)
                .set("scores", pool("scores of pairs", seen))
                .set("overlaps", corrects ? pool("overlaps", seen) : null)
                .set("readers", byKey ? pool("readers", rows) : view(u.query()))
                .set("probers", byKey && corrects ? pool("probers", rows) : view(u.key()))
                .set("passed", byKey ? pool("passed", rows) : null)
                .set("folded", byKey ? pool("folded", rows * r.writes()) : view(u.key()))
                .set("readHeads", byKey ? r.heads() : r.queryHeads())
                .set("probeHeads", byKey ? r.heads() : r.keyHeads())
                .set("foldHeads", byKey ? r.heads() : r.keyHeads());
        if (byKey) {
            device.run(with.apply(new Launch(RecurrenceKernels.class, "decayKeys"))
                    .eachOf(Math.multiplyExact(tokens, r.heads() * r.keyDim())));
        }
        for (int from = 0; from < r.heads(); from += someHeads) {
            int some = Math.min(someHeads, r.heads() - from);
            for (String entry : List.of("seePairs", "recur")) {
                int lanes = entry.equals("recur") ? spans * r.valueDim() : perHead;
                device.run(with.apply(new Launch(RecurrenceKernels.class, entry))
                        .set("fromHead", from)
                        .set("someHeads", some)
                        .eachOf(Math.multiplyExact(lanes, some)));
            }
        }
        int kept = byKey ? r.keyDim() : r.decay() == Recurrence.Decay.HEAD ? 1 + r.pairs() : 0;
        device.run(with.apply(new Launch(RecurrenceKernels.class, "keepPairs"))
                .eachOf(Math.multiplyExact(spans, r.keyHeads() * r.keyDim() * r.pairs() + r.heads() * kept)));
    }

    private Launch learning(String entry, Tensor out, State state, Batch batch) {
        return on(batch)
                .in(new Launch(LearningKernels.class, entry))
                .set("out", view(out))
                .set("state", view(state.pool()))
                .set("stateWidth", state.pool().width());
    }

    private static Launch update(Launch launch, Update u) {
        return launch.set("query", view(u.query()))
                .set("key", view(u.key()))
                .set("value", view(u.value()))
                .set("decay", view(u.decay()));
    }

    @Override
    public void recurByLevel(Tensor out, Update u, Tensor weights, Recurrence r, State state, Batch batch) {
        int panels = (r.valueDim() + DeviceKernel.GROUP - 1) / DeviceKernel.GROUP;
        device.run(update(learning("recurByLevel", out, state, batch), u)
                .set("weights", view(weights))
                .set("heads", r.heads())
                .set("queryHeads", r.queryHeads())
                .set("keyHeads", r.keyHeads())
                .set("keyDim", r.keyDim())
                .set("valueDim", r.valueDim())
                .set("levels", weights.width() / r.heads())
                .set("scale", r.scale())
                .groups(batch.spans().size() * r.heads(), panels, 1));
    }

    @Override
    public void regress(Tensor out, Update u, Tensor ridge, State state, Batch batch) {
        int keyDim = ridge.width();
        int each = keyDim * (keyDim + 1);
        device.run(update(learning("regress", out, state, batch), u)
                .set("beta", view(u.beta()))
                .set("ridge", view(ridge))
                .set("heads", ridge.rows())
                .set("keyDim", keyDim)
                .set("valueDim", u.value().width() / ridge.rows())
                .set(
                        "scratch",
                        pool("systems", 4L * each * ridge.rows() * batch.spans().size()))
                .set("scratchWidth", each)
                .lanes((long) batch.spans().size() * ridge.rows()));
    }

    @Override
    public void trainAndRead(
            Tensor out, Tensor query, Tensor key, Tensor value, Tensor rate, FastWeights m, State state, Batch batch) {
        int most = Math.max(m.miniBatch(), Math.max(m.headDim(), m.inner()));
        device.run(learning("trainAndRead", out, state, batch)
                .set("query", view(query))
                .set("key", view(key))
                .set("value", view(value))
                .set("rate", view(rate))
                .set("initial", view(m.initial()))
                .set("normWeight", view(m.normWeight()))
                .set("normBias", view(m.normBias()))
                .set("tokenRate", floats("tokenRate", m.tokenRate()))
                .set("heads", m.heads())
                .set("headDim", m.headDim())
                .set("inner", m.inner())
                .set("miniBatch", m.miniBatch())
                .set("headWidth", m.headWidth())
                .set("weightWidth", m.weightWidth())
                .set("firstOut", m.firstOut())
                .set("weight2", m.weight2())
                .set("bias2", m.bias2())
                .set("gradients1", m.gradients1())
                .set("inputs2", m.inputs2())
                .set("gradients2", m.gradients2())
                .set("eps", m.eps())
                .set("most", most)
                .set(
                        "scratch",
                        pool("learning", 16L * most * m.heads() * batch.spans().size()))
                .set("scratchWidth", 4 * most)
                .groups(batch.spans().size(), m.heads(), 1));
    }

    @Override
    public void pick(Picks out, Tensor logits, int[] targets) {
        Device.View results = pool("picks", 12L * targets.length);
        device.run(new Launch(ChoiceKernels.class, "pick")
                .set("x", view(logits))
                .set("width", logits.width())
                .set("targets", ints("targets", targets))
                .set("results", results)
                .groups(targets.length, 1, 1));
        ByteBuffer bytes = read(results);
        for (int i = 0; i < targets.length; i++) {
            out.tokens()[i] = bytes.getInt(12 * i);
            out.logprobs()[i] = bytes.getFloat(12 * i + 4);
            out.ranks()[i] = bytes.getInt(12 * i + 8);
        }
    }

    @Override
    public void sample(int[] tokens, Tensor logits, List<Draw> draws) {
        int[] numbers = new int[2 * tokens.length];
        float[] rules = new float[4 * tokens.length];
        for (int i = 0; i < tokens.length; i++) {
            Draw draw = draws.get(i);
            numbers[2 * i] = draw.row();
            numbers[2 * i + 1] = draw.topK();
            rules[4 * i] = (float) draw.temperature();
            rules[4 * i + 1] = (float) draw.topP();
            rules[4 * i + 2] = (float) draw.minP();
            rules[4 * i + 3] = (float) draw.uniform();
        }
        Device.View results = pool("drawn", 4L * tokens.length);
        device.run(new Launch(SampleKernels.class, "sample")
                .set("x", view(logits))
                .set("width", logits.width())
                .set("draws", ints("draws", numbers))
                .set("rules", floats("rules", rules))
                .set("results", results)
                .groups(tokens.length, 1, 1));
        read(results).asIntBuffer().get(tokens);
    }

    @Override
    public void edit(Tensor out, Tensor logits, List<Edit> edits) {
        int named = edits.stream().mapToInt(edit -> edit.ids().length).sum();
        int[] sources = new int[2 * edits.size()];
        int[] places = new int[3 * named];
        float[] changes = new float[4 * named];
        int at = 0;
        for (int i = 0; i < edits.size(); i++) {
            Edit edit = edits.get(i);
            sources[2 * i] = edit.row();
            sources[2 * i + 1] = edit.only() ? 1 : 0;
            System.arraycopy(edit.rules(), 0, changes, 4 * at, edit.rules().length);
            for (int id : edit.ids()) {
                places[3 * at] = i;
                places[3 * at + 1] = edit.row();
                places[3 * at++ + 2] = id;
            }
        }
        Launch copy = new Launch(SampleKernels.class, "copyForEdit")
                .set("out", view(out))
                .set("x", view(logits))
                .set("width", logits.width())
                .set("draws", ints("edits", sources))
                .set("least", Float.NEGATIVE_INFINITY);
        device.run(copy.eachOf(Math.multiplyExact(edits.size(), logits.width())));
        if (named > 0) {
            device.run(new Launch(SampleKernels.class, "edit")
                    .set("out", view(out))
                    .set("x", view(logits))
                    .set("width", logits.width())
                    .set("draws", ints("edited", places))
                    .set("rules", floats("changes", changes))
                    .eachOf(named));
        }
    }

    @Override
    public void top(int[] tokens, float[] logprobs, Tensor row) {
        if (tokens.length > MOST_TOP) {
            float[] logits = new float[row.width()];
            download(row, logits);
            HostSampler.top(this, row, logits, 0, tokens, logprobs);
            return;
        }
        Device.View results = pool("top", 8L * tokens.length);
        device.run(new Launch(SampleKernels.class, "top")
                .set("x", view(row))
                .set("width", row.width())
                .set("size", tokens.length)
                .set("results", results)
                .groups(1, 1, 1));
        ByteBuffer bytes = read(results);
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = bytes.getInt(8 * i);
            logprobs[i] = bytes.getFloat(8 * i + 4);
        }
    }

    private static Launch choices(String entry, DeviceRoutes routes) {
        Launch launch = new Launch(ChoiceKernels.class, entry)
                .set("topK", routes.topK)
                .set("choices", routes.tokens * routes.topK)
                .set("width", routes.expertCount);
        routes.views.forEach(launch::set);
        return launch;
    }

    @Override
    public Routes route(Tensor logits, @Nullable Tensor choiceBias, Router router) {
        int tokens = logits.rows();
        int n = router.experts();
        int choices = tokens * router.topK();
        Map<String, Device.View> views = Map.of(
                "experts", pool("experts", 4L * choices),
                "weights", pool("weights", 4L * choices),
                "places", pool("places", 4L * choices),
                "starts", pool("starts", 8L * n));
        DeviceRoutes routes = new DeviceRoutes(this, tokens, router.topK(), n, views, new HashMap<>());
        device.run(choices("route", routes)
                .set("x", view(logits))
                .set("bias", view(choiceBias))
                .set("has", choiceBias != null)
                .set("scores", pool("scores", 4L * tokens * (2 * n + router.groups())))
                .set("size", tokens)
                .set("scoring", router.scoring().ordinal())
                .set("groups", router.groups())
                .set("topGroups", router.topGroups())
                .set("sumsTwo", router.groupScore() == Router.GroupScore.SUM_OF_TOP_2)
                .set("renormalizes", router.renormalize())
                .set("keepsBias", router.keepsBias())
                .set("maskedScore", Math.max(-Float.MAX_VALUE, router.maskedScore()))
                .set("scale", router.scale())
                .set("jitter", router.jitter())
                .lanes(tokens));
        device.run(choices("sort", routes).lanes(n));
        return routes;
    }

    private Device.View cut(DeviceRoutes routes, int rows) {
        int most = routes.mostTiles(rows);
        Device.View tiles = pool("tiles of " + rows + " rows", 12L * most);
        device.run(choices("cut", routes)
                .set("tiles", tiles)
                .set("mostTiles", most)
                .set("tileRows", rows)
                .lanes(routes.expertCount));
        return tiles;
    }

    private static Launch moved(String entry, Tensor out, Tensor x, Routes routes, int values) {
        return choices(entry, (DeviceRoutes) routes)
                .set("out", view(out))
                .set("x", view(x))
                .set("count", x.width())
                .set("size", values)
                .lanes(values);
    }

    @Override
    public void dispatch(Tensor out, Tensor x, Routes routes) {
        device.run(moved("dispatch", out, x, routes, Math.multiplyExact(out.rows(), out.width())));
    }

    @Override
    public void combine(Tensor out, Tensor x, Routes routes) {
        device.run(moved("combine", out, x, routes, Math.multiplyExact(out.rows(), out.width())));
    }

    @Override
    public void countChoices(Tensor load, Routes routes) {
        DeviceRoutes to = (DeviceRoutes) routes;
        device.run(choices("addLoad", to).set("load", view(load)).lanes(to.expertCount));
    }

    @Override
    public void close() {
        device.close();
    }
}
