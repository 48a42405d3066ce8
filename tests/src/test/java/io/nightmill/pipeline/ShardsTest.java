package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ShardsTest {
    /** Behind the first 1,024 tokens only whole blocks of 64 are seen to be shared. */
    @ParameterizedTest
    @CsvSource({"0,0", "1,1", "1023,1023", "1024,1024", "1087,1024", "1088,1088", "1300,1280", "1999,1984", "2000,2000"
    })
    void sharedBeginningsAreMeasured(int alike, int expected) {
        int[] one = IntStream.range(0, 2000).toArray();
        int[] other = one.clone();
        Arrays.fill(other, alike, 2000, -1);
        assertThat(Shards.shared(Shards.key(one), Shards.key(other), 2000)).isEqualTo(expected);
        // What begins alike stands together.
        int[] third = IntStream.range(5000, 7000).toArray();
        if (alike > 0) {
            assertThat(Shards.shared(Shards.key(one), Shards.key(third), 2000)).isZero();
        }
    }

    @ParameterizedTest
    @CsvSource({"1", "4", "5", "17", "1000"})
    void lastShardsAreTheSmallest(int shards) {
        int[] rows = new int[shards];
        for (int i = 0; i < 100_000; i++) {
            rows[Shards.shard(i, 100_000, shards)]++;
        }
        assertThat(Arrays.stream(rows).sum()).isEqualTo(100_000);
        assertThat(rows[shards - 1]).isPositive();
        if (shards >= 5) {
            assertThat((double) rows[0] / rows[shards - 1]).isBetween(1.5, 2.5);
        }
    }
}
