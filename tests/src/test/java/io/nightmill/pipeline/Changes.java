package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.function.Consumer;

/** Bytes that are not those which were written; none may be read. */
final class Changes {
    private Changes() {}

    static void refusedInEachBit(byte[] written, Consumer<byte[]> read) {
        for (int i = 0; i < written.length; i++) {
            for (int bit = 0; bit < 8; bit++) {
                byte[] bytes = written.clone();
                bytes[i] ^= (byte) (1 << bit);
                assertThatThrownBy(() -> read.accept(bytes))
                        .as("bit %d of byte %d", bit, i)
                        .isInstanceOf(CorruptRowsException.class);
            }
        }
    }

    static void refusedAtEachLength(byte[] written, Consumer<byte[]> read) {
        for (int length = 0; length < written.length; length++) {
            byte[] bytes = Arrays.copyOf(written, length);
            assertThatThrownBy(() -> read.accept(bytes))
                    .as("%d bytes", length)
                    .isInstanceOf(CorruptRowsException.class);
        }
    }
}
