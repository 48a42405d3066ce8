package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import com.esotericsoftware.kryo.Kryo;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.junit.jupiter.api.Test;

/** A batch that a disk or network changed is not read, nor does it take memory that its true lengths would not. */
class ArrowBatchSerializerTest {
    private static final List<PlannedRow> ROWS = List.of(
            new PlannedRow("a", new int[] {3, 1, 4}, List.of(), new int[0], null, null, "one", null),
            new PlannedRow(
                    "b", new int[] {1, 5}, List.of(new int[] {9, 2}), new int[] {-1}, "{}", new byte[8], "two", null));

    private static byte[] written() {
        try (BufferAllocator allocator = new RootAllocator();
                ArrowBatch batch = ArrowBatch.of(ROWS, allocator)) {
            Output output = new Output(1 << 12, -1);
            new ArrowBatchSerializer().write(new Kryo(), output, batch);
            return output.toBytes();
        }
    }

    private static void read(byte[] bytes) {
        BufferAllocator allocator = new RootAllocator(1 << 20);
        try {
            ArrowBatchSerializer.read(new Input(bytes), allocator).close();
        } finally {
            // Complains of what was not given back, in place of what went before.
            allocator.close();
        }
    }

    @Test
    void isReadAsItWasWritten() {
        try (BufferAllocator allocator = new RootAllocator();
                ArrowBatch batch = ArrowBatchSerializer.read(new Input(written()), allocator)) {
            assertThat(List.of(batch.row(0), batch.row(1)))
                    .usingRecursiveComparison()
                    .isEqualTo(ROWS);
        }
    }

    @Test
    void changedBytesAreRefused() {
        Changes.refusedInEachBit(written(), ArrowBatchSerializerTest::read);
    }

    @Test
    void shortOnesAreRefused() {
        Changes.refusedAtEachLength(written(), ArrowBatchSerializerTest::read);
    }
}
