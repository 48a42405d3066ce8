package io.nightmill.pipeline;

import io.nightmill.runtime.ModelSpec;
import java.io.Serializable;
import org.apache.spark.sql.types.StructType;

/**
 * What the tasks of a run must know; small, serializable.
 *
 * @param model {@link ModelSpec#format}
 * @param sampling the job's sampling parameters as JSON (generate)
 * @param topLogprobs alternatives per position (score)
 * @param kept schema of the columns to carry through
 * @param fingerprint {@link Fingerprint#ofRun}
 */
record Plan(
        Kind kind,
        String model,
        String sampling,
        int topLogprobs,
        OnTooLong onTooLong,
        boolean returnTokenIds,
        StructType kept,
        String fingerprint)
        implements Serializable {

    enum Kind {
        GENERATE,
        SCORE,
        SCORE_CONTINUATIONS
    }

    ModelSpec spec() {
        return ModelSpec.parse(model);
    }
}
