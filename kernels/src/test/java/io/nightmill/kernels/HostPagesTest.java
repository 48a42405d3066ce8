package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class HostPagesTest {
    private static final int WIDTH = 64;
    private static final int PAGES = 1_000_000;

    /** A pool of this size would be larger than the test's heap. */
    @ParameterizedTest
    @EnumSource
    void memoryIsTakenAsPagesAreWritten(KvType type) {
        HostPages pages = new HostPages(new Paged(Role.KEYS, 1, WIDTH), 16 * PAGES, type);
        assertThat(pages.size()).isEqualTo(16L * WIDTH * PAGES);
        float[] row = new float[WIDTH];
        row[5] = 127;
        for (int page : new int[] {0, 1, 300}) {
            pages.reserve(page);
            pages.append(page, 3, row, 0);
        }
        pages.reserve(301);
        pages.copy(1, 301);
        float[] query = new float[WIDTH];
        query[5] = 2;
        float[] scores = new float[64];
        pages.dots(new int[] {0, 1, 300, 301}, 0, query, 0, 1, scores, new ScalarLanes(), new HostPages.Widened());
        for (int p = 0; p < 4; p++) {
            assertThat(scores[16 * p + 3]).isEqualTo(254);
            assertThat(scores[16 * p + 4]).isZero();
        }
    }

    /** A query among others is weighed and summed like alone, whatever form its kernels have for many. */
    @ParameterizedTest
    @CsvSource({"F32, 64", "BF16, 64", "BF16, 96", "BF16, 40", "INT8, 64"})
    void queriesTogetherHaveTheBitsOfEachAlone(KvType type, int width) {
        int count = 13;
        Random random = new Random(4);
        HostPages keys = new HostPages(new Paged(Role.KEYS, 2, width), 16 * 4, type);
        HostPages values = new HostPages(new Paged(Role.VALUES, 2, width), 16 * 4, type);
        for (int token = 0; token < 64; token++) {
            float[] row = gaussian(random, 2 * width);
            keys.reserve(token / 16);
            values.reserve(token / 16);
            keys.append(token / 16, token % 16, row, 0);
            values.append(token / 16, token % 16, row, 0);
        }
        int[] page = {2, 0, 3, 1};
        Lanes lanes = Lanes.best();
        HostPages.Widened widened = new HostPages.Widened();
        float[] queries = gaussian(random, count * width);
        float[] scores = new float[64 * count];
        float[] sums = gaussian(random, count * width);
        float[] begun = sums.clone();
        keys.dots(page, 1, queries, 0, count, scores, lanes, widened);
        values.weighted(page, 1, scores, count, 64, sums, 0, width, lanes, widened);
        for (int i = 0; i < count; i++) {
            float[] one = new float[64];
            keys.dots(page, 1, queries, i * width, 1, one, lanes, widened);
            assertThat(Arrays.copyOfRange(scores, 64 * i, 64 * i + 64))
                    .as("scores of %d", i)
                    .containsExactly(one);
            float[] sum = Arrays.copyOfRange(begun, i * width, (i + 1) * width);
            values.weighted(page, 1, one, 1, 64, sum, 0, width, lanes, widened);
            assertThat(Arrays.copyOfRange(sums, i * width, (i + 1) * width))
                    .as("sums of %d", i)
                    .containsExactly(sum);
        }
    }

    private static float[] gaussian(Random random, int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
