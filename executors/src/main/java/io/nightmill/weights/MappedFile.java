package io.nightmill.weights;

import io.nightmill.tensor.Panels;
import java.io.EOFException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A file mapped read-only in windows of 1 GiB, as they are asked for and while somebody uses them, or read where a copy is wanted: weights
 * cost no heap, and the executors of one machine share the page cache.
 */
final class MappedFile {
    private static final long WINDOW = 1L << 30;

    private final Path path;
    private final long size;
    private final Map<Long, WeakReference<MappedByteBuffer>> windows = new HashMap<>();
    /** Closed once nobody holds this. */
    private @Nullable RandomAccessFile opened;

    MappedFile(Path path) throws IOException {
        this.path = path;
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            this.size = channel.size();
        }
    }

    Path path() {
        return path;
    }

    long size() {
        return size;
    }

    /** Bytes {@code offset .. offset + length}, little endian; at most 2 GiB. */
    synchronized ByteBuffer slice(long offset, long length) {
        if (offset < 0 || length < 0 || length > Integer.MAX_VALUE || offset + length > size) {
            throw new IllegalArgumentException(
                    "Cannot read bytes %d to %d of %s: the file has %d".formatted(offset, offset + length, path, size));
        }
        long window = offset / WINDOW;
        if (length == 0 || (offset + length - 1) / WINDOW != window) {
            return map(offset, length).order(ByteOrder.LITTLE_ENDIAN);
        }
        long from = window * WINDOW;
        WeakReference<MappedByteBuffer> before = windows.get(window);
        MappedByteBuffer mapped = before == null ? null : before.get();
        if (mapped == null) {
            mapped = map(from, Math.min(WINDOW, size - from));
            windows.put(window, new WeakReference<>(mapped));
        }
        return mapped.slice((int) (offset - from), (int) length).order(ByteOrder.LITTLE_ENDIAN);
    }

    private MappedByteBuffer map(long from, long length) {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            return channel.map(FileChannel.MapMode.READ_ONLY, from, length);
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot map " + path, e);
        }
    }

    /** Rows from {@code offset} on, in panels of at most 1 GiB. */
    Panels panels(long offset, int rows, long rowBytes, int panelRows) {
        int count = (rows + panelRows - 1) / panelRows;
        long bytes = rows * rowBytes;
        long panelBytes = panelRows * rowBytes;
        return Panels.onDemand(
                count,
                bytes,
                i -> slice(offset + i * panelBytes, Math.min(panelBytes, bytes - i * panelBytes)),
                (i, at, into) -> read(offset + i * panelBytes + at, into));
    }

    /** Fills a buffer with the bytes from {@code offset} on, without mapping them. Those with an array are small: the file stays open. */
    private void read(long offset, ByteBuffer into) {
        if (into.hasArray()) {
            readFew(offset, into);
            return;
        }
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            long at = offset;
            while (into.hasRemaining()) {
                int count = channel.read(into, at);
                if (count < 0) {
                    throw new EOFException("it ends at byte " + at);
                }
                at += count;
            }
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read " + path, e);
        }
    }

    /** By a file that an interrupted thread does not close, as it would a channel. */
    private synchronized void readFew(long offset, ByteBuffer into) {
        try {
            if (opened == null) {
                opened = new RandomAccessFile(path.toFile(), "r");
            }
            opened.seek(offset);
            opened.readFully(into.array(), into.arrayOffset() + into.position(), into.remaining());
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read " + path, e);
        }
    }
}
