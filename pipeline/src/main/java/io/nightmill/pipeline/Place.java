package io.nightmill.pipeline;

import com.esotericsoftware.kryo.Kryo;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * A row in the planner's order.
 *
 * @param key what rows are sorted by: {@link Shards#key}
 * @param content equal for rows that share an answer
 * @param length tokens of the prompt
 * @param output tokens that the answer is estimated to cost
 * @param partition where the row lies in the input
 * @param position its number in that partition
 */
record Place(byte[] key, String content, int length, long output, int partition, int position) {
    /**
     * With a checksum, since disks are not always true. A place that is read wrongly would send its row to another shard than the attempt of
     * the task before did, and the row would be there twice, or not at all.
     */
    static final class Serializer extends com.esotericsoftware.kryo.Serializer<Place> {
        @Override
        public void write(Kryo kryo, Output output, Place place) {
            byte[] content = place.content.getBytes(StandardCharsets.UTF_8);
            byte[] bytes = ByteBuffer.allocate(5 * Integer.BYTES + Long.BYTES + place.key.length + content.length)
                    .putInt(place.key.length)
                    .put(place.key)
                    .putInt(content.length)
                    .put(content)
                    .putInt(place.length)
                    .putLong(place.output)
                    .putInt(place.partition)
                    .putInt(place.position)
                    .array();
            CheckedBytes.write(output, bytes);
        }

        @Override
        public Place read(Kryo kryo, Input input, Class<Place> type) {
            ByteBuffer bytes = ByteBuffer.wrap(CheckedBytes.read(input));
            byte[] key = new byte[bytes.getInt()];
            bytes.get(key);
            byte[] content = new byte[bytes.getInt()];
            bytes.get(content);
            return new Place(
                    key,
                    new String(content, StandardCharsets.UTF_8),
                    bytes.getInt(),
                    bytes.getLong(),
                    bytes.getInt(),
                    bytes.getInt());
        }
    }
}
