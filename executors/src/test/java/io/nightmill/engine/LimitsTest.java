package io.nightmill.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LimitsTest {
    @ParameterizedTest
    @CsvSource({
        // experts, of them chosen, rows, tokens: 32 rows and 128 tokens for each expert, within bounds
        "1, 1, 64, 512",
        "8, 2, 128, 512",
        "64, 8, 256, 1024",
        "128, 8, 512, 2048",
        "384, 8, 512, 2048"
    })
    void batchesFillTheExperts(int experts, int topK, int rows, int tokens) {
        Limits limits = new Limits(1 << 20, 0, 0).chosen((double) topK / experts);
        assertThat(limits.maxNumSeqs()).isEqualTo(rows);
        assertThat(limits.maxNumBatchedTokens()).isEqualTo(tokens);
    }

    @Test
    void whatTheUserSaysHolds() {
        Limits limits = new Limits(1 << 20, 3, 7).chosen(0.01);
        assertThat(limits).isEqualTo(new Limits(1 << 20, 3, 7));
        assertThatThrownBy(() -> new Limits(1 << 20, -1, 7)).hasMessageContaining("max-num-seqs -1");
    }
}
