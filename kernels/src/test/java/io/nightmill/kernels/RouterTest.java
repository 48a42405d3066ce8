package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.nightmill.kernels.Backend.Router;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RouterTest {
    @ParameterizedTest
    @CsvSource({"0, 1, 1", "9, 1, 1", "2, 3, 1", "2, 4, 0", "2, 4, 5", "5, 4, 2"})
    void choosesAmongExpertsOfTheGroupsThatAreChosen(int topK, int groups, int topGroups) {
        assertThatThrownBy(() -> router(topK, groups, topGroups))
                .hasMessage("Cannot route to %d of 8 experts in %d of %d groups".formatted(topK, topGroups, groups));
    }

    @Test
    void mayChooseAllOfThem() {
        router(4, 4, 2);
        router(8, 4, 4);
    }

    private static Router router(int topK, int groups, int topGroups) {
        return new Router(
                8, topK, Router.Scoring.SIGMOID, true, groups, topGroups, Router.GroupScore.MAX, 0, 1, false, 0);
    }
}
