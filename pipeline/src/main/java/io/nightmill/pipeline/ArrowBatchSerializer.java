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
 * Writes a batch's buffers as they are: the schema is fixed, so nodes and bytes are all there is. Checksums go with them; that of the
 * buffers' lengths is looked at before there is room made for so much.
 */
final class ArrowBatchSerializer extends Serializer<ArrowBatch> {
    private static final int CHUNK = 1 << 16;

    @Override
    public void write(Kryo kryo, Output output, ArrowBatch batch) {
        try (ArrowRecordBatch record = new VectorUnloader(batch.root()).getRecordBatch()) {
            CheckedBytes.write(output, head(record));
            byte[] chunk = new byte[CHUNK];
            CRC32C sum = new CRC32C();
            for (ArrowBuf buffer : record.getBuffers()) {
                long length = buffer.readableBytes();
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

    /** Numbers of rows and nulls, and the buffers' lengths. */
    private static byte[] head(ArrowRecordBatch record) {
        List<ArrowFieldNode> nodes = record.getNodes();
        List<ArrowBuf> buffers = record.getBuffers();
        ByteBuffer head = ByteBuffer.allocate(Integer.BYTES * (3 + 2 * nodes.size()) + Long.BYTES * buffers.size());
        head.putInt(record.getLength()).putInt(nodes.size());
        nodes.forEach(node -> head.putInt(node.getLength()).putInt(node.getNullCount()));
        head.putInt(buffers.size());
        buffers.forEach(buffer -> head.putLong(buffer.readableBytes()));
        return head.array();
    }

    @Override
    public ArrowBatch read(Kryo kryo, Input input, Class<ArrowBatch> type) {
        return read(input, TaskAllocator.get());
    }

    /** @throws CorruptRowsException if it is not what was written */
    static ArrowBatch read(Input input, BufferAllocator allocator) {
        List<ArrowBuf> buffers = new ArrayList<>();
        try {
            return read(input, allocator, buffers);
        } catch (KryoException e) {
            throw CorruptRowsException.endsEarly();
        } finally {
            buffers.forEach(ArrowBuf::close);
        }
    }

    private static ArrowBatch read(Input input, BufferAllocator allocator, List<ArrowBuf> buffers) {
        ByteBuffer head = ByteBuffer.wrap(CheckedBytes.read(input));
        int rows = head.getInt();
        List<ArrowFieldNode> nodes = new ArrayList<>();
        for (int i = head.getInt(); i > 0; i--) {
            nodes.add(new ArrowFieldNode(head.getInt(), head.getInt()));
        }
        byte[] chunk = new byte[CHUNK];
        CRC32C sum = new CRC32C();
        for (int i = head.getInt(); i > 0; i--) {
            long length = head.getLong();
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
        CorruptRowsException.unlessEqual(sum.getValue(), input.readLong());
        VectorSchemaRoot root = VectorSchemaRoot.create(ArrowBatch.SCHEMA, allocator);
        try (ArrowRecordBatch record = new ArrowRecordBatch(rows, nodes, buffers)) {
            new VectorLoader(root).load(record);
        }
        return new ArrowBatch(root);
    }
}
