/** From a table of prompts to a table of results: Spark stages, Arrow between them, Kryo on the wire. */
@NullMarked
package io.nightmill.pipeline;

import org.jspecify.annotations.NullMarked;
