package io.nightmill.kernels.gpu;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Weights in the device's memory, uploaded when they are first used: as stored, in panels of {@value DeviceKernel#GROUP} outputs with
 * the words of a block that far apart ({@link ProductKernels}). Blocks are rounded up to whole words.
 */
final class DeviceWeights {
    private static final int PANEL = DeviceKernel.GROUP;

    /**
     * @param parts cut by outputs, where one allocation or a kernel's count of words would be too small for all
     * @param scales of all weights, one after the other; null where the format has none
     * @param scalesEach values of one weight's
     */
    record Uploaded(List<Part> parts, Device.@Nullable View scales, int scalesEach) {}

    /** @param words {@code [weights, panels, blocks, blockWords, 64]} */
    record Part(Device.View words, int firstOutput, int outs) {}

    /** Weights are the same if they are the same objects. */
    private record Key(List<Matrix> weights) {
        @Override
        public int hashCode() {
            return System.identityHashCode(weights.get(0));
        }

        @Override
        @SuppressWarnings("ReferenceEquality")
        public boolean equals(Object other) {
            List<Matrix> others = ((Key) other).weights;
            boolean same = others.size() == weights.size();
            for (int i = 0; same && i < weights.size(); i++) {
                same = weights.get(i) == others.get(i);
            }
            return same;
        }
    }

    private final Device device;
    private final Map<Key, Uploaded> uploaded = new HashMap<>();

    DeviceWeights(Device device) {
        this.device = device;
    }

    /** Weights of one shape, as one array. */
    Uploaded of(List<Matrix> weights) {
        return uploaded.computeIfAbsent(new Key(weights), key -> upload(weights));
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

    private Uploaded upload(List<Matrix> weights) {
        Matrix first = weights.get(0);
        for (Matrix w : weights) {
            if (w.format() != first.format() || w.out() != first.out() || w.in() != first.in()) {
                throw new IllegalArgumentException("Cannot multiply by %s %s beside %s %s"
                        .formatted(w.format(), w.shape(), first.format(), first.shape()));
            }
        }
        int blocks = (first.in() + blockValues(first.format()) - 1) / blockValues(first.format());
        long panelBytes = 4L * blocks * blockWords(first.format()) * PANEL;
        long most = Math.min(device.mostBytes(), 4L * Integer.MAX_VALUE);
        long panelsAtOnce = most / panelBytes / weights.size();
        if (panelsAtOnce == 0) {
            throw new DeviceException(
                    "Cannot hold %d weights %s in one allocation of %s: it takes %,d bytes"
                            .formatted(weights.size(), first.shape(), device.describe(), most),
                    false);
        }
        int panels = (first.out() + PANEL - 1) / PANEL;
        List<Part> parts = new ArrayList<>();
        ByteBuffer panel = ByteBuffer.allocate(Math.toIntExact(panelBytes)).order(ByteOrder.LITTLE_ENDIAN);
        for (int from = 0; from < panels; from += (int) panelsAtOnce) {
            int count = (int) Math.min(panelsAtOnce, panels - from);
            long bytes = panelBytes * count * weights.size();
            Device.Memory memory = device.allocate(bytes);
            for (int i = 0; i < weights.size(); i++) {
                for (int p = 0; p < count; p++) {
                    pack(weights.get(i), (from + p) * PANEL, blocks, panel);
                    device.write(memory, panelBytes * (i * (long) count + p), panel);
                }
            }
            int firstOutput = from * PANEL;
            int outs = Math.min(first.out() - firstOutput, count * PANEL);
            parts.add(new Part(new Device.View(memory, 0, bytes), firstOutput, outs));
        }
        return new Uploaded(
                parts,
                scales(weights),
                first.scales() == null ? 0 : first.scales().values().length);
    }

    private static void pack(Matrix w, int firstOutput, int blocks, ByteBuffer panel) {
        int blockWords = blockWords(w.format());
        int blockBytes = Math.max(4, w.format().blockBytes());
        for (int n = 0; n < PANEL; n++) {
            int row = firstOutput + n;
            ByteBuffer source = row < w.out() ? w.panel(row) : null;
            int at = source == null ? 0 : w.rowOffset(row);
            int end = at + w.rowBytes();
            for (int b = 0; b < blocks; b++) {
                int block = at + b * blockBytes;
                int blockEnd = Math.min(end, block + blockBytes);
                for (int j = 0; j < blockWords; j++) {
                    int word = source == null ? 0 : word(source, block + 4 * j, blockEnd);
                    panel.putInt(4 * ((b * blockWords + j) * PANEL + n), word);
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

    private Device.@Nullable View scales(List<Matrix> weights) {
        Matrix.Scales first = weights.get(0).scales();
        if (first == null) {
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
