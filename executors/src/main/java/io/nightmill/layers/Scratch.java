package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Memory for the intermediate tensors of a step, which lives as long as the engine. A tensor lies in the first chunk that has room.
 * Chunks are taken as a step needs them; behind it, one takes their place that has what was in use at once, which is less.
 */
public final class Scratch {
    private static final long CHUNK = 1 << 20;
    /** Values of a chunk that takes the place of several, at most. */
    private static final long LARGEST = 1 << 26;

    /**
     * A place to return to: everything taken since is free again.
     *
     * @param used values of each chunk
     */
    public record Mark(long[] used) {}

    private final Backend backend;
    private final List<Buffer> chunks = new ArrayList<>();
    private long[] used = new long[0];
    private long most;

    public Scratch(Backend backend) {
        this.backend = backend;
    }

    public Mark mark() {
        return new Mark(used.clone());
    }

    public void release(Mark mark) {
        used = Arrays.copyOf(mark.used, chunks.size());
        if (chunks.size() > 1 && inUse() == 0 && most <= LARGEST) {
            chunks.clear();
            chunks.add(backend.allocate(most));
            used = new long[1];
        }
    }

    private long inUse() {
        long sum = 0;
        for (long values : used) {
            sum += values;
        }
        return sum;
    }

    /** A tensor whose values are undefined. */
    public Tensor tensor(int rows, int width) {
        long size = (long) rows * width;
        int chunk = 0;
        while (chunk < chunks.size() && used[chunk] + size > chunks.get(chunk).size()) {
            chunk++;
        }
        if (chunk == chunks.size()) {
            chunks.add(backend.allocate(Math.max(CHUNK, size)));
            used = Arrays.copyOf(used, chunks.size());
        }
        Tensor tensor = new Tensor(chunks.get(chunk), used[chunk], rows, width);
        used[chunk] += size;
        most = Math.max(most, inUse());
        return tensor;
    }
}
