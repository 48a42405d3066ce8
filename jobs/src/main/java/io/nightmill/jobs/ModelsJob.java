package io.nightmill.jobs;

import io.nightmill.models.Families;
import io.nightmill.models.Families.Listing;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What models this version runs, what they are made of, and how that was proven. */
@Command(name = "models", description = "Lists the model types that are supported, their layers, formats and proof.")
final class ModelsJob implements Callable<Integer> {
    @Option(names = "--markdown", description = "As the table of docs/MODELS.md.")
    private boolean markdown;

    @Override
    public Integer call() {
        String row = markdown ? "| %s | %s | %s | %s |%n" : "%-24s %-42s %-22s %s%n";
        System.out.printf(
                row,
                "model_type",
                markdown ? "layers" : "formats",
                markdown ? "formats" : "proof",
                markdown ? "proof" : "layers");
        if (markdown) {
            System.out.printf(row, "---", "---", "---", "---");
        }
        for (Listing model : Families.listings()) {
            String gguf = model.gguf().isEmpty() ? "" : ", GGUF " + String.join(" ", model.gguf());
            String formats = "safetensors" + gguf;
            String proof = model.isProven() ? "reference logits" : "UNPROVEN: paper only";
            if (markdown) {
                System.out.printf(row, "`" + model.modelType() + "`", model.layers(), formats, proof);
            } else {
                System.out.printf(row, model.modelType(), formats, proof, model.layers());
            }
        }
        return 0;
    }
}
