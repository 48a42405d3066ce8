package io.nightmill.pipeline;

import com.esotericsoftware.kryo.Kryo;
import com.esotericsoftware.kryo.KryoException;
import com.esotericsoftware.kryo.Serializer;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorLoader;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.VectorUnloader;
import org.apache.arrow.vector.ipc.message.ArrowFieldNode;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;

/**
 * Writes a batch's buffers as they are: the schema is fixed, so nodes and bytes are all there is. A checksum of the bytes goes with
 * them, since disks and networks are not always true.
 */
final class ArrowBatchSerializer extends Serializer<ArrowBatch> {
    private static final int CHUNK = 1 << 16;
    private static final long LONGEST_BUFFER = 1L << 31;

    @Override
    public void write(Kryo kryo, Output output, ArrowBatch batch) {
        try (ArrowRecordBatch record = new VectorUnloader(batch.root()).getRecordBatch()) {
            output.writeInt(record.getLength());
            output.writeInt(record.getNodes().size());
            for (ArrowFieldNode node : record.getNodes()) {
                output.writeInt(node.getLength());
                output.writeInt(node.getNullCount());
            }
            output.writeInt(record.getBuffers().size());
            byte[] chunk = new byte[CHUNK];
            CRC32C sum = head(record.getLength(), record.getNodes());
            for (ArrowBuf buffer : record.getBuffers()) {
                long length = buffer.readableBytes();
                output.writeLong(length);
                for (long at = 0; at < length; at += CHUNK) {
                    int count = (int) Math.min(CHUNK, length - at);
                    buffer.getBytes(at, chunk, 0, count);
                    output.writeBytes(chunk, 0, count);
                    sum.update(chunk, 0, count);
                }
            }
            output.writeLong(sum.getValue());
        }
    }

    @Override
    public ArrowBatch read(Kryo kryo, Input input, Class<ArrowBatch> type) {
        List<ArrowBuf> buffers = new ArrayList<>();
        try {
            return read(input, TaskAllocator.get(), buffers);
        } catch (KryoException e) {
            // Spark takes an underflow for the end of the stream, and rows would be missing.
            throw new CorruptBatchException("it ends early");
        } finally {
            buffers.forEach(ArrowBuf::close);
        }
    }

    private static ArrowBatch read(Input input, BufferAllocator allocator, List<ArrowBuf> buffers) {
        int rows = input.readInt();
        List<ArrowFieldNode> nodes = new ArrayList<>();
        for (int i = input.readInt(); i > 0; i--) {
            nodes.add(new ArrowFieldNode(input.readInt(), input.readInt()));
        }
        readBuffers(input, allocator, buffers, head(rows, nodes));
        VectorSchemaRoot root = VectorSchemaRoot.create(ArrowBatch.SCHEMA, allocator);
        try (ArrowRecordBatch record = new ArrowRecordBatch(rows, nodes, buffers)) {
            new VectorLoader(root).load(record);
        }
        return new ArrowBatch(root);
    }

    /** Of numbers of rows and nulls. */
    private static CRC32C head(int rows, List<ArrowFieldNode> nodes) {
        ByteBuffer numbers =
                ByteBuffer.allocate(Integer.BYTES * (1 + 2 * nodes.size())).putInt(rows);
        nodes.forEach(node -> numbers.putInt(node.getLength()).putInt(node.getNullCount()));
        CRC32C sum = new CRC32C();
        sum.update(numbers.flip());
        return sum;
    }

    private static void readBuffers(Input input, BufferAllocator allocator, List<ArrowBuf> buffers, CRC32C sum) {
        byte[] chunk = new byte[CHUNK];
        for (int i = input.readInt(); i > 0; i--) {
            long length = input.readLong();
            if (length < 0 || length > LONGEST_BUFFER) {
                throw new CorruptBatchException("a buffer of %d bytes".formatted(length));
            }
            ArrowBuf buffer = allocator.buffer(length);
            buffers.add(buffer);
            for (long at = 0; at < length; at += CHUNK) {
                int count = (int) Math.min(CHUNK, length - at);
                input.readBytes(chunk, 0, count);
                sum.update(chunk, 0, count);
                buffer.setBytes(at, ByteBuffer.wrap(chunk, 0, count));
            }
            buffer.writerIndex(length);
        }
        long expected = input.readLong();
        if (sum.getValue() != expected) {
            throw new CorruptBatchException("checksum %08x, expected %08x".formatted(sum.getValue(), expected));
        }
    }

    /** Bytes that are not those which were written. */
    static final class CorruptBatchException extends RuntimeException {
        private static final long serialVersionUID = 1;

        CorruptBatchException(String found) {
            super("Cannot read a batch of rows: " + found);
        }
    }
}
