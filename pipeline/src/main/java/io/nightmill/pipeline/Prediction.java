package io.nightmill.pipeline;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.models.ModelSize;
import io.nightmill.runtime.KernelSpeed;

/**
 * What a run will take, by the operations and bytes of its products and what this machine's kernels reach. Executors are taken to be
 * like the driver; attention, loading and writing are not counted, and outputs are taken to be as long as they may be.
 *
 * @param executors that compute at a time
 * @param prefillSeconds for prompts
 * @param decodeSeconds for outputs
 */
record Prediction(int executors, double prefillSeconds, double decodeSeconds, KernelSpeed speed) {

    static Prediction of(ShardCost total, ModelSize model, RunConfig config, int executors, KernelSpeed speed) {
        double flops = model.flopsPerToken();
        double prefill = (total.promptTokens() - total.sharedTokens()) * flops / speed.flops();
        boolean generates = config.sampling() != null;
        double outputs = total.outputTokens();
        if (!generates) {
            return new Prediction(executors, (prefill + outputs * flops / speed.flops()) / executors, 0, speed);
        }
        double batch = Math.max(
                1, Math.min(config.model().limits().maxNumSeqs(), (double) total.rows() / Math.max(1, executors)));
        // A step reads the weights once, and computes all its rows.
        double activeBytes = (double) model.weightBytes() * model.activeParameters() / Math.max(1, model.parameters());
        double step = Math.max(activeBytes / speed.bytesPerSecond(), batch * flops / speed.flops());
        return new Prediction(executors, prefill / executors, outputs / batch * step / executors, speed);
    }

    double seconds() {
        return prefillSeconds + decodeSeconds;
    }

    void addTo(ObjectNode json) {
        json.put("executors", executors);
        json.put("prefill_seconds", prefillSeconds)
                .put("decode_seconds", decodeSeconds)
                .put("seconds", seconds());
        json.put("kernel_flops", speed.flops()).put("kernel_bytes_per_second", speed.bytesPerSecond());
    }
}
