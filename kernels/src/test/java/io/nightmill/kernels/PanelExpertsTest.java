package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.kernels.Backend.Routes;
import io.nightmill.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PanelExpertsTest {
    private final Random random = new Random(11);

    @ParameterizedTest
    @EnumSource
    void expertsAtOnceGiveTheBitsOfSingleOperations(Products products) {
        int inner = products == Products.INT4 ? 256 : 232;
        try (HostBackend backend = new HostBackend(2, Lanes.best(), products)) {
            ExpertCases.haveTheBitsOfSingleOperations(backend, 288, inner, random);
        }
    }

    @Test
    void lanesWithoutTilesGiveThemToo() {
        try (HostBackend backend = new HostBackend(2, new ScalarLanes(), Products.EXACT)) {
            ExpertCases.haveTheBitsOfSingleOperations(backend, 130, 24, random);
        }
    }

    /** One token to an expert, so that each meets the weights by itself. */
    @Test
    void fewTasksAreLeftToSingleOperations() {
        try (HostBackend backend = new HostBackend(2, Lanes.best(), Products.EXACT)) {
            ExpertWeights weights = ExpertCases.ungated(128, 24, random);
            ExpertWeights narrow = ExpertCases.ungated(64, 24, random);
            Routes many = BackendSuite.routes(backend, 6, 0, 1, 2, 3, 4, 5);
            Routes few = BackendSuite.routes(backend, 6, 0, 0, 0, 1, 2, 2);
            assertThat(experts(backend, many, weights, 128)).isTrue();
            assertThat(experts(backend, few, weights, 128)).isFalse();
            assertThat(experts(backend, many, narrow, 64)).isFalse();
        }
    }

    private static boolean experts(HostBackend backend, Routes routes, ExpertWeights weights, int hidden) {
        Tensor x = BackendSuite.tensor(backend, 6, hidden, new float[6 * hidden]);
        Tensor out = BackendSuite.tensor(backend, 6, hidden, new float[6 * hidden]);
        return backend.experts(out, x, routes, weights);
    }
}
