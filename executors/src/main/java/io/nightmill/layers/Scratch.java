package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** A bump allocator for the intermediate tensors of a step; its buffers live as long as the engine. */
public final class Scratch {
    private static final long CHUNK = 1 << 22;

    /** A place to return to: everything taken since is free again. */
    public record Mark(int chunk, long used) {}

    private final Backend backend;
    private final List<Buffer> chunks = new ArrayList<>();
    private int chunk;
    private long used;

    public Scratch(Backend backend) {
        this.backend = backend;
    }

    public Mark mark() {
        return new Mark(chunk, used);
    }

    public void release(Mark mark) {
        chunk = mark.chunk;
        used = mark.used;
    }

    /** A tensor whose values are undefined. */
    public Tensor tensor(int rows, int width) {
        long size = (long) rows * width;
        while (chunk < chunks.size() && used + size > chunks.get(chunk).size()) {
            chunk++;
            used = 0;
        }
        if (chunk == chunks.size()) {
            chunks.add(backend.allocate(Math.max(CHUNK, size)));
        }
        Tensor tensor = new Tensor(chunks.get(chunk), used, rows, width);
        used += size;
        return tensor;
    }
}
