package io.nightmill.pipeline;

import java.util.Iterator;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.storage.RDDBlockId;
import org.apache.spark.storage.StorageLevel;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Partitions that several stages read, kept on executors' disks. A block that cannot be read is thrown away before its task fails, so that
 * the next attempt makes it anew; Spark alone would read it again.
 */
final class Kept<T> {
    private static final Logger LOG = LoggerFactory.getLogger(Kept.class);

    private final JavaRDD<T> stored;
    private final JavaRDD<T> read;

    Kept(JavaRDD<T> made) {
        this.stored = made.persist(StorageLevel.DISK_ONLY());
        this.read = stored.mapPartitionsWithIndex(new Guard<T>(stored.id()), true);
    }

    JavaRDD<T> rdd() {
        return read;
    }

    void close() {
        stored.unpersist(false);
    }

    private record Guard<T>(int rdd) implements Function2<Integer, Iterator<T>, Iterator<T>> {
        @Override
        public Iterator<T> call(Integer partition, Iterator<T> stored) {
            return new Iterator<>() {
                @Override
                public boolean hasNext() {
                    try {
                        return stored.hasNext();
                    } catch (RuntimeException e) {
                        throw thrownAway(partition, e);
                    }
                }

                @Override
                public T next() {
                    try {
                        return stored.next();
                    } catch (RuntimeException e) {
                        throw thrownAway(partition, e);
                    }
                }
            };
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
