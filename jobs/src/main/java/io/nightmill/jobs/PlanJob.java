package io.nightmill.jobs;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** What {@code generate} would do with the same options. */
@Command(name = "plan", description = "Says what generate would do, and does nothing.", sortOptions = false)
final class PlanJob implements Callable<Integer> {
    @Mixin
    private RunOptions run;

    @Mixin
    private SamplingOptions sampling;

    @Override
    public Integer call() {
        return SparkRun.run("nightmill plan", run.config(sampling.json(), 0, false), true);
    }
}
