package io.nightmill.kernels;

import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.IdentityHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * bfloat16 weights for products in float32: panels of {@value #COLUMNS} outputs in four blocks {@code [in / 2, 16]} of words, each
 * with the weights of two neighbouring inputs. A row's value then meets sixteen outputs in one vector, and no sum goes across
 * lanes. A weight is packed before it is first used.
 */
final class PackedWeights {
    static final int COLUMNS = 64;
    /** From so many rows on it pays to widen a panel once for all of them. */
    static final int MANY = 8;

    private final NativeMemory memory = new NativeMemory();
    private final Map<Matrix, ByteBuffer[]> packed = new IdentityHashMap<>();

    private static boolean packs(Matrix w) {
        return w.format() == Format.BF16 && w.scales() == null && w.in() % 2 == 0;
    }

    /** Packs a weight that can be, unless it has been. Called by one thread at a time, and by none of the workers. */
    void pack(Matrix w, Workers workers) {
        if (packs(w) && !packed.containsKey(w)) {
            ByteBuffer[] panels = new ByteBuffer[(w.out() + COLUMNS - 1) / COLUMNS];
            workers.run(panels.length, p -> panels[p] = panel(w, p * COLUMNS));
            packed.put(w, panels);
        }
    }

    /** The panels of a packed weight; null for one that cannot be packed. */
    ByteBuffer @Nullable [] of(Matrix w) {
        return packed.get(w);
    }

    private ByteBuffer panel(Matrix w, int first) {
        int pairs = w.in() / 2;
        ByteBuffer panel = memory.allocate(4 * COLUMNS * pairs);
        for (int n = first; n < Math.min(w.out(), first + COLUMNS); n++) {
            ByteBuffer from = w.panel(n);
            int row = w.rowOffset(n);
            int to = ((n - first) / 16 * pairs * 16 + (n - first) % 16) * 4;
            for (int k = 0; k < pairs; k++) {
                panel.putInt(to + 64 * k, from.getInt(row + 4 * k));
            }
        }
        return panel.order(ByteOrder.LITTLE_ENDIAN);
    }
}
