/** The commands: generate, score, models, demo. */
@NullMarked
package io.nightmill.jobs;

import org.jspecify.annotations.NullMarked;
