/** Continuous batching: scheduling, state memory and sampling. */
@NullMarked
package io.nightmill.engine;

import org.jspecify.annotations.NullMarked;
