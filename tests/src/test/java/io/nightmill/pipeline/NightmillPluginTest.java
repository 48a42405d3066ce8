package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import com.codahale.metrics.MetricRegistry;
import io.nightmill.Logs;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.spark.SparkConf;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.resource.ResourceInformation;
import org.junit.jupiter.api.Test;

class NightmillPluginTest {
    @Test
    void anExecutorThatEndsWhileItAsksSaysNothing() throws Exception {
        Driver driver = new Driver(true);
        List<String> logged = Logs.during(() -> {
            ExecutorPlugin plugin = started(driver);
            plugin.shutdown();
            driver.asking.join();
        });
        assertThat(logged).noneMatch(line -> line.contains("Cannot start the runtime"));
    }

    @Test
    void aDriverThatCannotBeAskedIsSaid() throws Exception {
        Driver driver = new Driver(false);
        List<String> logged = Logs.during(() -> {
            ExecutorPlugin plugin = started(driver);
            while (driver.asking.getState() != Thread.State.TIMED_WAITING
                    && driver.asking.getState() != Thread.State.WAITING) {
                Thread.sleep(1);
            }
            plugin.shutdown();
        });
        assertThat(logged).contains("Cannot start the runtime: no driver");
    }

    private static ExecutorPlugin started(Driver driver) throws InterruptedException {
        ExecutorPlugin plugin = new NightmillPlugin().executorPlugin();
        plugin.init(driver, Map.of());
        driver.asked.await();
        return plugin;
    }

    /** A driver that never answers, or fails. */
    private static final class Driver implements PluginContext {
        private final boolean hangs;
        private final CountDownLatch asked = new CountDownLatch(1);
        private volatile Thread asking = Thread.currentThread();

        Driver(boolean hangs) {
            this.hangs = hangs;
        }

        @Override
        public Object ask(Object message) throws Exception {
            asking = Thread.currentThread();
            asked.countDown();
            if (hangs) {
                new CountDownLatch(1).await();
            }
            throw new IOException("no driver");
        }

        @Override
        public void send(Object message) {}

        @Override
        public MetricRegistry metricRegistry() {
            return new MetricRegistry();
        }

        @Override
        public SparkConf conf() {
            return new SparkConf(false).set(NightmillPlugin.MODEL_KEY, "{}");
        }

        @Override
        public String executorID() {
            return "driver";
        }

        @Override
        public String hostname() {
            return "here";
        }

        @Override
        public Map<String, ResourceInformation> resources() {
            return Map.of();
        }
    }
}
