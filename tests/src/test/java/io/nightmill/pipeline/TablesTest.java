package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;

class TablesTest {
    private static SparkSession session(String value) {
        return SparkSession.builder()
                .master("local[1]")
                .config("spark.ui.enabled", "false")
                .config("spark.hadoop.nightmill.test", value)
                .getOrCreate();
    }

    /** An executor knows what the user set for file systems, credentials say, from its session alone. */
    @Test
    void fileSystemsAreSetByTheSession() {
        for (String value : new String[] {"first", "second"}) {
            SparkSession spark = session(value);
            try {
                assertThat(Tables.hadoop().get("nightmill.test")).isEqualTo(value);
                assertThat(Tables.hadoop()).isSameAs(Tables.hadoop());
            } finally {
                spark.stop();
            }
        }
        assertThat(Tables.hadoop().get("nightmill.test")).isNull();
    }
}
