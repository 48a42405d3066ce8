package io.nightmill.pipeline;

import io.nightmill.engine.Sampling;
import io.nightmill.runtime.ModelSpec;
import io.nightmill.runtime.SamplingJson;
import java.io.Serializable;
import org.apache.spark.sql.types.StructType;

/**
 * What the tasks of a run must know; small, serializable.
 *
 * @param model {@link ModelSpec#format}
 * @param sampling the job's sampling parameters as JSON in the order of their names (generate)
 * @param topLogprobs alternatives per position (score)
 * @param chat of rows with messages
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
        boolean prefixCaching,
        boolean logPrompts,
        ChatOptions chat,
        StructType kept,
        String fingerprint)
        implements Serializable {

    enum Kind {
        GENERATE,
        SCORE,
        SCORE_CONTINUATIONS,
        /** Rows with choices are scored, the others are prompts to complete. */
        MIXED;

        boolean generates() {
            return this == GENERATE || this == MIXED;
        }
    }

    boolean generates(PlannedRow row) {
        return kind.generates() && row.continuations().isEmpty();
    }

    /** Tokens that a row may write, of all its outputs together; what is asked beyond the context is not written. */
    long maxTokens(PlannedRow row, int contextLength) {
        if (!generates(row)) {
            return 0;
        }
        Sampling own = SamplingJson.parse(sampling, row.sampling());
        return (long) own.n() * Math.min(own.maxTokens(), Math.max(1, contextLength - row.prompt().length));
    }

    /** Whether a row's answer is the same under any id. */
    boolean isDeterministic(PlannedRow row) {
        return !generates(row) || SamplingJson.parse(sampling, row.sampling()).temperature() == 0;
    }

    ModelSpec spec() {
        return ModelSpec.parse(model);
    }
}
