package io.nightmill.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TrialTest {
    private static final int ENOUGH = 10 * Trial.CALLS;

    private final Trial trial = new Trial();

    /** What the trial says after calls for a unit of work that took so many nanoseconds without and with it. */
    private boolean after(int calls, IntUnaryOperator without, IntUnaryOperator with) {
        for (int call = 0; call < calls; call++) {
            boolean does = trial.next();
            trial.took(does, (does ? with : without).applyAsInt(call), 1);
        }
        boolean said = trial.next();
        for (int call = 0; call < ENOUGH; call++) {
            assertThat(trial.next()).isEqualTo(said);
            trial.took(said, 1_000_000, 1);
        }
        return said;
    }

    @Test
    void doesWhatPays() {
        assertThat(after(ENOUGH, call -> 110, call -> 100)).isTrue();
    }

    @Test
    void leavesOutWhatDoesNot() {
        assertThat(after(ENOUGH, call -> 100, call -> 110)).isFalse();
    }

    @Test
    void compilingDoesNotCount() {
        assertThat(after(ENOUGH, call -> 110, call -> call < 2 * Trial.CALLS ? 10_000 : 100))
                .isTrue();
    }

    @Test
    void aSlowMomentDoesNotCount() {
        assertThat(after(ENOUGH, call -> 110, call -> call / Trial.CALLS == 5 ? 10_000 : 100))
                .isTrue();
    }

    /** A part of the calls is of work that takes three times as long. */
    @ParameterizedTest
    @ValueSource(ints = {2, 3, 6, 16, 17, 480})
    void workRepeats(int period) {
        IntUnaryOperator work = call -> call % period < period / 2 ? 3 : 1;
        assertThat(after(ENOUGH, call -> 120 * work.applyAsInt(call), call -> 100 * work.applyAsInt(call)))
                .isTrue();
    }

    @Test
    void callsOfMoreWorkMayTakeLonger() {
        for (int call = 0; call < ENOUGH; call++) {
            boolean does = trial.next();
            int work = 1 + call % 3 + (does ? 5 : 0);
            trial.took(does, (does ? 100 : 110) * work, work);
        }
        assertThat(trial.next()).isTrue();
    }

    /** Until it has seen enough it does both, whatever they cost, and counts no call of a turn that is over. */
    @Test
    void triesBoth() {
        int done = 0;
        for (int call = 0; call < 4 * Trial.CALLS; call++) {
            boolean does = trial.next();
            done += does ? 1 : 0;
            trial.took(!does, 1, 1);
            trial.took(does, does ? 500 : 100, 1);
        }
        assertThat(done).isEqualTo(2 * Trial.CALLS);
    }
}
