package io.nightmill.layers;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** How often each expert of each layer was chosen. Confined to the engine's thread. */
public final class ExpertLoad {
    private final Backend backend;
    /** Row of {@link #recent} for each branch; -1 for those without experts. */
    private final int[] rows;

    private final List<long[]> counts = new ArrayList<>();
    /** {@code [layers with experts, most experts]}: choices since the last look, where the backend can count them. */
    private final Tensor recent;

    public ExpertLoad(Backend backend, Decoder decoder) {
        this.backend = backend;
        rows = new int[decoder.branches().size()];
        int most = 1;
        for (int i = 0; i < rows.length; i++) {
            rows[i] = -1;
            if (decoder.branches().get(i).layer() instanceof MixtureOfExperts mixture) {
                rows[i] = counts.size();
                counts.add(new long[mixture.router().experts()]);
                most = Math.max(most, mixture.router().experts());
            }
        }
        recent = new Tensor(backend.allocate((long) counts.size() * most), 0, counts.size(), most);
        clear();
    }

    private void clear() {
        backend.upload(recent, new float[recent.rows() * recent.width()]);
    }

    /** @param layer number of the branch */
    Tensor of(int layer) {
        return recent.rows(rows[layer], 1);
    }

    /** Choices per expert, for each layer with experts in order. */
    public long[][] counts() {
        if (!counts.isEmpty()) {
            float[] values = new float[recent.rows() * recent.width()];
            backend.download(recent, values);
            clear();
            for (int layer = 0; layer < counts.size(); layer++) {
                long[] sums = counts.get(layer);
                for (int e = 0; e < sums.length; e++) {
                    sums[e] += (long) values[layer * recent.width() + e];
                }
            }
        }
        return counts.stream().map(long[]::clone).toArray(long[][]::new);
    }
}
