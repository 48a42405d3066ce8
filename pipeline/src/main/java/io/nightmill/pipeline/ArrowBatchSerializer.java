package io.nightmill.pipeline;

import com.esotericsoftware.kryo.Kryo;
import com.esotericsoftware.kryo.Serializer;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorLoader;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.VectorUnloader;
import org.apache.arrow.vector.ipc.message.ArrowFieldNode;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;

/** Writes a batch's buffers as they are: the schema is fixed, so nodes and bytes are all there is. */
final class ArrowBatchSerializer extends Serializer<ArrowBatch> {
    private static final int CHUNK = 1 << 16;

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
            for (ArrowBuf buffer : record.getBuffers()) {
                long length = buffer.readableBytes();
                output.writeLong(length);
                for (long at = 0; at < length; at += CHUNK) {
                    int count = (int) Math.min(CHUNK, length - at);
                    buffer.getBytes(at, chunk, 0, count);
                    output.writeBytes(chunk, 0, count);
                }
            }
        }
    }

    @Override
    public ArrowBatch read(Kryo kryo, Input input, Class<ArrowBatch> type) {
        BufferAllocator allocator = TaskAllocator.get();
        int rows = input.readInt();
        List<ArrowFieldNode> nodes = new ArrayList<>();
        for (int i = input.readInt(); i > 0; i--) {
            nodes.add(new ArrowFieldNode(input.readInt(), input.readInt()));
        }
        List<ArrowBuf> buffers = new ArrayList<>();
        byte[] chunk = new byte[CHUNK];
        for (int i = input.readInt(); i > 0; i--) {
            long length = input.readLong();
            ArrowBuf buffer = allocator.buffer(length);
            for (long at = 0; at < length; at += CHUNK) {
                int count = (int) Math.min(CHUNK, length - at);
                input.readBytes(chunk, 0, count);
                buffer.setBytes(at, ByteBuffer.wrap(chunk, 0, count));
            }
            buffer.writerIndex(length);
            buffers.add(buffer);
        }
        VectorSchemaRoot root = VectorSchemaRoot.create(ArrowBatch.SCHEMA, allocator);
        try (ArrowRecordBatch record = new ArrowRecordBatch(rows, nodes, buffers)) {
            new VectorLoader(root).load(record);
        } finally {
            buffers.forEach(ArrowBuf::close);
        }
        return new ArrowBatch(root);
    }
}
