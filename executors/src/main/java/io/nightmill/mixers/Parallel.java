package io.nightmill.mixers;

import io.nightmill.kernels.Backend;
import io.nightmill.layers.SequenceMixer;
import io.nightmill.layers.Step;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Mixers side by side on the same rows: the sum of {@code outScale * mixer(inScale * x)} (Falcon-H1, arXiv 2507.22448). */
public record Parallel(List<Part> parts) implements SequenceMixer {

    public record Part(SequenceMixer mixer, float inScale, float outScale) {}

    @Override
    public List<State.Spec> states() {
        List<State.Spec> specs = new ArrayList<>();
        parts.forEach(part -> specs.addAll(part.mixer.states()));
        return specs;
    }

    @Override
    public void apply(Tensor out, Tensor x, List<State> states, Step step) {
        Backend backend = step.backend();
        int at = 0;
        for (Part part : parts) {
            int count = part.mixer.states().size();
            Tensor scaled = step.rows(x.width());
            backend.scale(scaled, x, part.inScale);
            Tensor y = at == 0 ? out : step.rows(out.width());
            part.mixer.apply(y, scaled, states.subList(at, at + count), step);
            if (at == 0) {
                backend.scale(out, out, part.outScale);
            } else {
                backend.add(out, out, y, part.outScale);
            }
            at += count;
        }
    }
}
