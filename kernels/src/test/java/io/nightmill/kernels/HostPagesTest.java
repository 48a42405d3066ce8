package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.tensor.KvType;
import io.nightmill.tensor.State.Spec.Paged;
import io.nightmill.tensor.State.Spec.Role;
import org.junit.jupiter.params.ParameterizedTest;
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
}
