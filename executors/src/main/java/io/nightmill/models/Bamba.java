package io.nightmill.models;

import io.nightmill.layers.Branch;
import io.nightmill.layers.Decoder;
import io.nightmill.layers.Rope;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.mixers.SoftmaxAttention;
import io.nightmill.weights.ConfigNode;
import io.nightmill.weights.Weights;
import java.util.List;
import java.util.Set;

/** Bamba (IBM, Princeton, CMU, UIUC 2024): Mamba-2 with a few layers of partly rotated attention. */
final class Bamba implements ModelFamily {
    @Override
    public Set<String> modelTypes() {
        return Set.of("bamba");
    }

    @Override
    public String layers(String modelType) {
        return "Mamba-2 and partly rotated attention, dense";
    }

    @Override
    public Decoder build(ConfigNode config, Weights weights) {
        Blueprint model = new Blueprint(config, weights).named("model", "embed_tokens", "final_layernorm");
        // Half of each head, in the reference whatever the configuration says.
        Rope rope = model.rope(Ropes.of(config, model.headDim / 2));
        List<Integer> attending = config.ints("attn_layer_indices");
        List<String> types = config.texts("layer_types");
        for (int i = 0; i < model.layers; i++) {
            Weights layer = model.layer(i);
            boolean attends = types.isEmpty() ? attending.contains(i) : Blueprint.attends(types.get(i));
            SequenceMixer mixer = attends
                    ? SoftmaxAttention.from(layer.in("self_attn"), model.hidden, rope, model.attention(0))
                    : MambaBlocks.mamba2(layer.in("mamba"), MambaBlocks.Sizes.of(model, true, 1, null));
            model.add(Branch.of(model.norm(layer, "input_layernorm"), mixer));
            model.add(Branch.of(model.norm(layer, "pre_ff_layernorm"), model.mlp(layer.in("feed_forward"))));
        }
        return model.decoder();
    }
}
