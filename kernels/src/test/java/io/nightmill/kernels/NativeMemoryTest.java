package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.junit.jupiter.api.Test;

class NativeMemoryTest {
    private final NativeMemory memory = new NativeMemory();

    /** More than one slab holds, and one that is larger than a quarter of it. */
    @Test
    void placesAreZeroAlignedAndApart() {
        int[] sizes = {1, 64, 100, 17 << 20, 12 << 20, 15 << 20, 14 << 20, 13 << 20, 12 << 20, 3, (17 << 20) + 40};
        List<ByteBuffer> places = new ArrayList<>();
        for (int size : sizes) {
            ByteBuffer place = memory.allocate(size);
            assertThat(place.capacity()).isEqualTo(size);
            assertThat(new BytePointer(place).address() % 64).isZero();
            assertThat(place.get(0)).isZero();
            assertThat(place.get(size - 1)).isZero();
            places.add(place);
        }
        for (int i = 0; i < sizes.length; i++) {
            ByteBuffer place = places.get(i);
            place.put(0, (byte) (i + 1)).put(sizes[i] / 2, (byte) (i + 1)).put(sizes[i] - 1, (byte) (i + 1));
        }
        for (int i = 0; i < sizes.length; i++) {
            ByteBuffer place = places.get(i);
            assertThat(new byte[] {place.get(0), place.get(sizes[i] / 2), place.get(sizes[i] - 1)})
                    .containsOnly(i + 1);
        }
    }
}
