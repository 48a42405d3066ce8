package io.nightmill.jobs;

import picocli.CommandLine.Command;

/** What {@code generate} would do with the same options. */
@Command(name = "plan", description = "Says what generate would do, and does nothing.", sortOptions = false)
final class PlanJob extends GenerateJob {
    @Override
    public Integer call() {
        return run("nightmill plan", true);
    }
}
