package io.nightmill.jobs;

import io.nightmill.pipeline.Manifest;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** How far a run has come. */
@Command(name = "status", description = "Says how far the last run of an output has come.")
final class StatusJob implements Callable<Integer> {
    @Parameters(paramLabel = "OUTPUT", description = "what --output named")
    private String output = "";

    @Override
    public Integer call() {
        System.out.print(Manifest.describe(Manifest.read(output)));
        return 0;
    }
}
