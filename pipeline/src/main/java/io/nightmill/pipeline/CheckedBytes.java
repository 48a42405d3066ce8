package io.nightmill.pipeline;

import com.esotericsoftware.kryo.KryoException;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import java.util.zip.CRC32C;

/** A few bytes with their length and checksum, since disks and networks are not always true. */
final class CheckedBytes {
    private static final int LONGEST = 1 << 24;

    private CheckedBytes() {}

    static void write(Output output, byte[] bytes) {
        if (bytes.length > LONGEST) {
            throw new IllegalArgumentException("%d bytes, expected at most %d".formatted(bytes.length, LONGEST));
        }
        output.writeInt(bytes.length);
        output.writeBytes(bytes);
        output.writeLong(sum(bytes));
    }

    /** @throws CorruptRowsException if they are not those which were written */
    static byte[] read(Input input) {
        try {
            int length = input.readInt();
            if (length < 0 || length > LONGEST) {
                throw new CorruptRowsException("a length of %d bytes".formatted(length));
            }
            byte[] bytes = input.readBytes(length);
            CorruptRowsException.unlessEqual(sum(bytes), input.readLong());
            return bytes;
        } catch (KryoException e) {
            throw CorruptRowsException.endsEarly();
        }
    }

    private static long sum(byte[] bytes) {
        CRC32C sum = new CRC32C();
        sum.update(bytes);
        return sum.getValue();
    }
}
