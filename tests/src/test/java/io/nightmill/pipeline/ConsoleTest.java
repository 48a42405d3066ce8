package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.pipeline.NightmillPlugin.Progress;
import io.nightmill.pipeline.RunMonitor.Snapshot;
import io.nightmill.runtime.DeviceUse;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import scala.xml.XML;

class ConsoleTest {
    private static final Progress EXECUTOR = new Progress(
            "<3>", "host", 9, 700, 300, 500, 40, 8, 3, 100, 25, 0, 0, 2, 0, 0, DeviceUse.NONE, Map.of("too_long", 2L));
    private static final Snapshot HALF =
            new Snapshot(100, 50, 100, 1000, 300, 500, Map.of("too_long", 2L), List.of(EXECUTOR));

    @Test
    void blockSaysHowItGoes() {
        assertThat(Console.lines(HALF))
                .containsExactly(
                        "[###############---------------] 50/100 rows  1m40s  ETA 1m40s",
                        "10 tok/s in (30 % from shared beginnings)  5 tok/s out  8 running  3 waiting  KV 75%",
                        "failed: too_long 2");
        assertThat(Console.lines(new Snapshot(1, 0, 0, 0, 0, 0, Map.of(), List.of())))
                .containsExactly(
                        "[##############################] 0/0 rows  1s",
                        "0 tok/s in (0 % from shared beginnings)  0 tok/s out  0 running  0 waiting");
        assertThat(Console.duration(7384)).isEqualTo("2h03m");
    }

    @Test
    void tabIsWellFormed() {
        String page = XML.loadString(NightmillTab.html(HALF, 5)).text();
        assertThat(page).contains("50 of 100 rows", "1000 (10/s)", "300 (30 %)", "<3>", "75 of 100", "{too_long=2}");
    }
}
