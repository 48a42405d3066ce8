package io.nightmill.jobs;

import io.nightmill.models.Families;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

/** What models this version runs. */
@Command(name = "models", description = "Lists the model types that are supported.")
final class ModelsJob implements Callable<Integer> {
    @Override
    public Integer call() {
        System.out.println("config.json model_type: " + String.join(", ", Families.modelTypes()));
        System.out.println("GGUF architectures:     " + String.join(", ", Families.ggufArchitectures()));
        return 0;
    }
}
