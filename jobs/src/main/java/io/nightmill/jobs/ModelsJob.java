package io.nightmill.jobs;

import io.nightmill.models.Families;
import io.nightmill.models.Families.Listing;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What models this version runs, what they are made of, and how that was proven. */
@Command(name = "models", description = "Lists the model types that are supported, their formats, proof and layers.")
final class ModelsJob implements Callable<Integer> {
    private static final String ROW = "%-24s %-32s %-32s %s%n";

    @Option(names = "--markdown", description = "As the table of docs/MODELS.md.")
    private boolean markdown;

    @Override
    public Integer call() {
        if (markdown) {
            System.out.println("| model_type | layers | formats | proof |\n|---|---|---|---|");
            Families.listings().stream().map(Listing::toMarkdown).forEach(System.out::println);
            return 0;
        }
        System.out.printf(ROW, "model_type", "formats", "proof", "layers");
        for (Listing model : Families.listings()) {
            System.out.printf(ROW, model.modelType(), model.formats(), model.proof(), model.layers());
        }
        return 0;
    }
}
