package io.nightmill.kernels.gpu;

import io.nightmill.kernels.Pack;
import io.nightmill.kernels.Products;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Weights in the device's memory, uploaded when they are first used: as stored, in panels of {@value DeviceKernel#GROUP} outputs with
 * the words of a block that far apart ({@link ProductKernels}). Blocks are rounded up to whole words. Weights beyond a limit stay in the
 * host's memory in that form, and are brought when they are used ({@link StreamedWeights}).
 */
final class DeviceWeights {
    private static final int PANEL = DeviceKernel.GROUP;
    /** Of the memory for weights where it is too little for all: what holds those that stay. */
    private static final double RESIDENT = 0.75;
    /** Streamed weights are cut to blocks of so many bytes, where panels allow. */
    private static final long MOST_STREAMED = 1 << 28;

    /**
     * @param parts cut by outputs, where one allocation or a kernel's count of words would be too small for all
     * @param scales of all weights, one after the other; null where the format has none
     * @param scalesEach values of one weight's
     */
    record Uploaded(List<Part> parts, Device.@Nullable View scales, int scalesEach) {}

    /**
     * @param words {@code [weights, panels, blocks, blockWords, 64]}
     * @param placeOf where each weight is among those; null where they are in order
     */
    record Part(Device.View words, int firstOutput, int outs, Device.@Nullable View placeOf) {}

    /**
     * Weights that are brought.
     *
     * @param blocks all of them, cut by outputs, or each expert by itself
     * @param scales without parts
     */
    private record Streamed(List<StreamedWeights.Block> blocks, Uploaded scales) {}

    /** Weights are the same if they are the same objects in the same format. */
    private record Key(List<Matrix> weights, Format format) {
        @Override
        public int hashCode() {
            return 31 * System.identityHashCode(weights.get(0)) + format.ordinal();
        }

        @Override
        @SuppressWarnings("ReferenceEquality")
        public boolean equals(Object other) {
            List<Matrix> others = ((Key) other).weights;
            boolean same = others.size() == weights.size() && ((Key) other).format == format;
            for (int i = 0; same && i < weights.size(); i++) {
                same = weights.get(i) == others.get(i);
            }
            return same;
        }
    }

    private final Device device;
    private final Map<Key, Uploaded> uploaded = new HashMap<>();
    private final Map<Key, Streamed> streamed = new HashMap<>();
    private final Map<Key, Streamed> streamedExperts = new HashMap<>();
    private long residentLimit = Long.MAX_VALUE;
    private long residentBytes;
    private volatile @Nullable StreamedWeights streams;

    DeviceWeights(Device device) {
        this.device = device;
    }

    /** From now on no more than so many bytes of the device are for weights, including what others are brought through. */
    void limit(long bytes) {
        residentLimit = (long) (RESIDENT * bytes);
        // A layer's experts have two sizes as a rule.
        streams = new StreamedWeights(device, (bytes - residentLimit) / 3);
    }

    StreamedWeights.Cost cost() {
        return streams == null ? StreamedWeights.Cost.NONE : streams.cost();
    }

    /**
     * Weights of one shape as one array, on the device for good; null where they are not.
     *
     * @param format as they are stored, or what they are rounded to
     */
    @Nullable
    Uploaded resident(List<Matrix> weights, Format format) {
        Key key = new Key(weights, format);
        Uploaded found = uploaded.get(key);
        if (found == null && !streamed.containsKey(key) && !streamedExperts.containsKey(key)) {
            long bytes = panelBytes(weights.get(0), format) * panels(weights.get(0)) * weights.size();
            if (bytes <= residentLimit - residentBytes) {
                residentBytes += bytes;
                found = upload(weights, format);
                uploaded.put(key, found);
            }
        }
        return found;
    }

    /** What is run with weights: kernels that read them. */
    interface Use {
        void run(Part part, Uploaded of);
    }

    /**
     * Runs kernels over weights, wherever they are.
     *
     * @param format as for {@link #resident}
     * @param chosen which of several weights are read; null is all
     */
    void each(List<Matrix> weights, Format format, @Nullable Supplier<int[]> chosen, Use use) {
        Uploaded found = resident(weights, format);
        if (found != null) {
            found.parts.forEach(part -> use.run(part, found));
            return;
        }
        StreamedWeights through = Objects.requireNonNull(streams, "only a limit makes weights stream");
        boolean byExpert = chosen != null && weights.size() > 1;
        Streamed group = (byExpert ? streamedExperts : streamed)
                .computeIfAbsent(new Key(weights, format), key -> pack(weights, format, byExpert, through));
        if (byExpert) {
            int outs = weights.get(0).out();
            through.experts(
                    group.blocks,
                    Arrays.stream(chosen.get()).distinct().sorted().toArray(),
                    (experts, placeOf) -> use.run(new Part(experts, 0, outs, placeOf), group.scales));
            return;
        }
        for (StreamedWeights.Block block : group.blocks) {
            Device.View words = through.bring(block);
            use.run(new Part(words, block.firstOutput, block.outs, null), group.scales);
            through.used(block);
        }
    }

    /** The format of a weight on a device, to which {@code arithmetic} may round it: a property of the weight alone. */
    static Format format(Matrix w, Products arithmetic) {
        Format rounded =
                switch (arithmetic) {
                    case EXACT -> w.format();
                    case BF16 -> Format.BF16;
                    case INT8 -> Format.Q8_0;
                    case INT4 -> Format.Q4_0;
                };
        return Products.rounds(w) && w.in() % rounded.blockValues() == 0 ? rounded : w.format();
    }

    static int blockValues(Format format) {
        return switch (format) {
            case F32 -> 1;
            case F16, BF16 -> 2;
            case F8_E4M3 -> 4;
            default -> format.blockValues();
        };
    }

    static int blockWords(Format format) {
        return (Math.max(4, format.blockBytes()) + 3) / 4;
    }

    private static int blocks(Matrix w, Format format) {
        return (w.in() + blockValues(format) - 1) / blockValues(format);
    }

    private static long panelBytes(Matrix w, Format format) {
        return 4L * blocks(w, format) * blockWords(format) * PANEL;
    }

    private static int panels(Matrix w) {
        return (w.out() + PANEL - 1) / PANEL;
    }

    private static void requireAlike(List<Matrix> weights) {
        Matrix first = weights.get(0);
        for (Matrix w : weights) {
            if (w.format() != first.format() || w.out() != first.out() || w.in() != first.in()) {
                throw new IllegalArgumentException("Cannot multiply by %s %s beside %s %s"
                        .formatted(w.format(), w.shape(), first.format(), first.shape()));
            }
        }
    }

    private int panelsAtOnce(List<Matrix> weights, Format format, long most) {
        long count = Math.min(most, Math.min(device.mostBytes(), 4L * Integer.MAX_VALUE))
                / panelBytes(weights.get(0), format)
                / weights.size();
        if (count == 0) {
            throw new DeviceException(
                    "Cannot hold %d weights %s in one allocation of %s: it takes %,d bytes"
                            .formatted(
                                    weights.size(),
                                    weights.get(0).shape(),
                                    device.describe(),
                                    Math.min(most, device.mostBytes())),
                    false);
        }
        return (int) Math.min(count, panels(weights.get(0)));
    }

    private static int scalesEach(List<Matrix> weights) {
        Matrix.Scales scales = weights.get(0).scales();
        return scales == null ? 0 : scales.values().length;
    }

    private Uploaded upload(List<Matrix> weights, Format format) {
        requireAlike(weights);
        Matrix first = weights.get(0);
        long panelBytes = panelBytes(first, format);
        int atOnce = panelsAtOnce(weights, format, Long.MAX_VALUE);
        List<Part> parts = new ArrayList<>();
        ByteBuffer panel = ByteBuffer.allocate(Math.toIntExact(panelBytes)).order(ByteOrder.LITTLE_ENDIAN);
        for (int from = 0; from < panels(first); from += atOnce) {
            int count = Math.min(atOnce, panels(first) - from);
            long bytes = panelBytes * count * weights.size();
            Device.Memory memory = device.allocate(bytes);
            for (int i = 0; i < weights.size(); i++) {
                for (int p = 0; p < count; p++) {
                    pack(weights.get(i), format, (from + p) * PANEL, panel, 0);
                    device.write(memory, panelBytes * (i * (long) count + p), panel);
                }
            }
            int firstOutput = from * PANEL;
            int outs = Math.min(first.out() - firstOutput, count * PANEL);
            parts.add(new Part(new Device.View(memory, 0, bytes), firstOutput, outs, null));
        }
        return new Uploaded(parts, scales(weights, format), scalesEach(weights));
    }

    private Streamed pack(List<Matrix> weights, Format format, boolean byExpert, StreamedWeights through) {
        requireAlike(weights);
        List<StreamedWeights.Block> blocks = new ArrayList<>();
        if (byExpert) {
            panelsAtOnce(weights.subList(0, 1), format, Integer.MAX_VALUE);
            weights.forEach(w -> blocks.add(block(List.of(w), format, 0, panels(w), through)));
        } else {
            int atOnce = panelsAtOnce(weights, format, MOST_STREAMED);
            for (int from = 0; from < panels(weights.get(0)); from += atOnce) {
                blocks.add(block(weights, format, from, Math.min(atOnce, panels(weights.get(0)) - from), through));
            }
        }
        return new Streamed(blocks, new Uploaded(List.of(), scales(weights, format), scalesEach(weights)));
    }

    /** Panels of weights as they will lie on the device. */
    private static StreamedWeights.Block block(
            List<Matrix> weights, Format format, int from, int count, StreamedWeights through) {
        Matrix first = weights.get(0);
        int panelBytes = Math.toIntExact(panelBytes(first, format));
        ByteBuffer bytes = through.allocate(Math.toIntExact((long) panelBytes * count * weights.size()));
        for (int i = 0; i < weights.size(); i++) {
            for (int p = 0; p < count; p++) {
                pack(weights.get(i), format, (from + p) * PANEL, bytes, (i * count + p) * panelBytes);
            }
        }
        return new StreamedWeights.Block(bytes, from * PANEL, Math.min(first.out() - from * PANEL, count * PANEL));
    }

    /** Writes a panel to {@code to} and on. */
    private static void pack(Matrix w, Format format, int firstOutput, ByteBuffer panel, int to) {
        int blocks = blocks(w, format);
        int blockWords = blockWords(format);
        int blockBytes = Math.max(4, format.blockBytes());
        int rowBytes = Math.toIntExact(format.rowBytes(w.in()));
        ByteBuffer rounded =
                ByteBuffer.allocate(format == w.format() ? 0 : rowBytes).order(ByteOrder.LITTLE_ENDIAN);
        for (int n = 0; n < PANEL; n++) {
            int row = firstOutput + n;
            ByteBuffer source = null;
            int at = 0;
            if (row < w.out() && format != w.format()) {
                Pack.row(w, row, format, rounded);
                source = rounded;
            } else if (row < w.out()) {
                source = w.panel(row);
                at = w.rowOffset(row);
            }
            for (int b = 0; b < blocks; b++) {
                int block = at + b * blockBytes;
                int blockEnd = Math.min(at + rowBytes, block + blockBytes);
                for (int j = 0; j < blockWords; j++) {
                    int word = source == null ? 0 : word(source, block + 4 * j, blockEnd);
                    panel.putInt(to + 4 * ((b * blockWords + j) * PANEL + n), word);
                }
            }
        }
    }

    /** Four bytes, zeros from {@code end} on. */
    private static int word(ByteBuffer bytes, int at, int end) {
        if (at + 4 <= end) {
            return bytes.getInt(at);
        }
        int word = 0;
        for (int i = at; i < end; i++) {
            word |= (bytes.get(i) & 255) << 8 * (i - at);
        }
        return word;
    }

    private Device.@Nullable View scales(List<Matrix> weights, Format format) {
        Matrix.Scales first = weights.get(0).scales();
        if (first == null || format != weights.get(0).format()) {
            return null;
        }
        long bytes = 4L * first.values().length * weights.size();
        Device.Memory memory = device.allocate(bytes);
        long at = 0;
        for (Matrix w : weights) {
            ByteBuffer values = ByteBuffer.allocate(4 * first.values().length).order(ByteOrder.LITTLE_ENDIAN);
            values.asFloatBuffer().put(w.scales().values());
            device.write(memory, at, values);
            at += values.capacity();
        }
        return new Device.View(memory, 0, bytes);
    }
}
