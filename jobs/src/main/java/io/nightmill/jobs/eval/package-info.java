/** lm-evaluation-harness tasks: their files, prompts, filters, metrics and results, by the harness's names. */
@NullMarked
package io.nightmill.jobs.eval;

import org.jspecify.annotations.NullMarked;
