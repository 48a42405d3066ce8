package io.nightmill.pipeline;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;

/** A task's batches, of which one is open at a time. */
final class ArrowBatches {
    private ArrowBatches() {}

    /** The rows of each batch, which is closed then. */
    static Stream<List<PlannedRow>> read(Iterator<ArrowBatch> batches) {
        return StreamSupport.stream(Spliterators.spliteratorUnknownSize(batches, Spliterator.ORDERED), false)
                .map(ArrowBatches::rows);
    }

    private static List<PlannedRow> rows(ArrowBatch batch) {
        try (batch) {
            List<PlannedRow> rows = new ArrayList<>();
            for (int i = 0; i < batch.size(); i++) {
                rows.add(batch.row(i));
            }
            return rows;
        }
    }

    /**
     * A batch of each piece's rows. Whoever takes them, which is Spark's writer, has written one by the time that it asks for the
     * next; so one is closed then.
     */
    static <T, R> Iterator<R> write(
            Iterator<T> pieces, Function<T, List<PlannedRow>> rows, BiFunction<T, ArrowBatch, R> result) {
        return new Iterator<>() {
            private @Nullable ArrowBatch last;

            @Override
            public boolean hasNext() {
                boolean more = pieces.hasNext();
                if (!more) {
                    closeLast();
                }
                return more;
            }

            @Override
            public R next() {
                closeLast();
                T piece = pieces.next();
                last = ArrowBatch.of(rows.apply(piece), TaskAllocator.get());
                return result.apply(piece, last);
            }

            private void closeLast() {
                if (last != null) {
                    last.close();
                    last = null;
                }
            }
        };
    }
}
