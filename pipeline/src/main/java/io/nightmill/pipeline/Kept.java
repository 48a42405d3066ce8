package io.nightmill.pipeline;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.UnaryOperator;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.storage.RDDBlockId;
import org.apache.spark.storage.StorageLevel;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Partitions that several stages read, kept on executors' disks. A block that cannot be read is thrown away before its task fails, so that
 * the next attempt makes it anew; Spark alone would read it again. Nor is one read that a full disk cut short: Spark may take it for whole,
 * so each ends with the number of its elements.
 */
final class Kept<T> {
    private static final Logger LOG = LoggerFactory.getLogger(Kept.class);

    private final JavaRDD<Object> stored;
    private final JavaRDD<T> read;

    Kept(JavaRDD<T> made, Class<T> type) {
        this.stored = made.mapPartitions(Kept::ended, true).persist(StorageLevel.DISK_ONLY());
        this.read = stored.mapPartitionsWithIndex(new Guard<>(stored.id(), type), true);
    }

    JavaRDD<T> rdd() {
        return read;
    }

    void close() {
        stored.unpersist(false);
    }

    /** The last of a block. */
    record End(long count) {}

    private static <T> Iterator<Object> ended(Iterator<T> elements) {
        return new Iterator<>() {
            private long count;
            private boolean over;

            @Override
            public boolean hasNext() {
                return !over;
            }

            @Override
            public Object next() {
                if (elements.hasNext()) {
                    count++;
                    return elements.next();
                }
                over = true;
                return new End(count);
            }
        };
    }

    /**
     * The elements of a block up to its end, which must be there.
     *
     * @param failed sees why the block cannot be read, and says what to throw
     */
    static <T> Iterator<T> elements(Iterator<Object> stored, Class<T> type, UnaryOperator<RuntimeException> failed) {
        return new Iterator<>() {
            private long count;
            private boolean over;
            private @Nullable T next;

            @Override
            public boolean hasNext() {
                if (next == null && !over) {
                    try {
                        advance();
                    } catch (RuntimeException e) {
                        throw failed.apply(e);
                    }
                }
                return !over;
            }

            private void advance() {
                if (!stored.hasNext()) {
                    throw CorruptRowsException.endsEarly();
                }
                Object read = stored.next();
                if (!(read instanceof End end)) {
                    // A changed byte may name another class.
                    next = type.cast(read);
                    count++;
                } else if (end.count == count) {
                    over = true;
                } else {
                    throw new CorruptRowsException("%d elements, expected %d".formatted(count, end.count));
                }
            }

            @Override
            public T next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                T element = next;
                next = null;
                return element;
            }
        };
    }

    private record Guard<T>(int rdd, Class<T> type) implements Function2<Integer, Iterator<Object>, Iterator<T>> {
        @Override
        public Iterator<T> call(Integer partition, Iterator<Object> stored) {
            return elements(stored, type, reason -> thrownAway(partition, reason));
        }

        private RuntimeException thrownAway(int partition, RuntimeException reason) {
            RDDBlockId block = new RDDBlockId(rdd, partition);
            LOG.warn("Block {} cannot be read and is made anew: {}", block, reason.getMessage());
            // The task holds the block's lock until it ends; another thread waits for that.
            Thread remover = new Thread(
                    () -> SparkEnv.get().blockManager().master().removeBlock(block), "nightmill-remove-" + block);
            remover.setDaemon(true);
            remover.start();
            return reason;
        }
    }
}
