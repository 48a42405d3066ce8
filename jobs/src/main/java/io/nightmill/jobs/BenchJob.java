package io.nightmill.jobs;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

@Command(name = "bench", description = "placeholder")
final class BenchJob implements Callable<Integer> {
    @Override
    public Integer call() {
        return 0;
    }
}
