package io.nightmill.models;

import java.util.List;
import java.util.TreeSet;

/** The list of families. */
public final class Families {
    private static final List<ModelFamily> ALL = List.of(
            new Llama(),
            new Qwen2(),
            new Qwen2Moe(),
            new Qwen3(),
            new Gemma(),
            new Olmo(),
            new Mixtral(),
            new Deepseek(),
            new GptOss(),
            new Phi3(),
            new MambaFamily(),
            new Jamba(),
            new Granite(),
            new Bamba(),
            new FalconH1(),
            new NemotronH(),
            new Zamba2(),
            new Qwen3Next(),
            new KimiLinear(),
            new MiniMax(),
            new Lfm2(),
            new RecurrentGemma(),
            new PhiMoe(),
            new Fla(),
            new Rwkv(),
            new RwkvNative(),
            new Ttt(),
            new MesaNet(),
            new LogLinearMamba2(),
            new XLstm(),
            new Plamo2(),
            new Hymba());

    /**
     * What a user should know of a model type.
     *
     * @param gguf GGUF architectures that become it
     * @param isProven see {@link ModelFamily#isProven}
     */
    public record Listing(String modelType, String layers, List<String> gguf, boolean isProven) {
        public String formats() {
            return "safetensors" + (gguf.isEmpty() ? "" : ", GGUF " + String.join(" ", gguf));
        }

        public String proof() {
            return isProven ? "reference logits" : "UNPROVEN: built from its paper";
        }

        /** A row of docs/MODELS.md. */
        public String toMarkdown() {
            return "| `%s` | %s | %s | %s |".formatted(modelType, layers, formats(), proof());
        }
    }

    private Families() {}

    /** Every model type, sorted. */
    public static List<Listing> listings() {
        return modelTypes().stream()
                .map(type ->
                        new Listing(type, of(type).layers(type), GgufModel.architectures(type), of(type).isProven()))
                .toList();
    }

    /** Every {@code model_type} that a family builds, sorted. */
    public static List<String> modelTypes() {
        TreeSet<String> types = new TreeSet<>();
        ALL.forEach(family -> types.addAll(family.modelTypes()));
        return List.copyOf(types);
    }

    /** @throws IllegalArgumentException listing what is supported */
    static ModelFamily of(String modelType) {
        return ALL.stream()
                .filter(family -> family.modelTypes().contains(modelType))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("Cannot build model_type '%s', supported are %s"
                        .formatted(modelType, String.join(", ", modelTypes()))));
    }
}
