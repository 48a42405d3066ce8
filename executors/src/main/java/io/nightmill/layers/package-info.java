/** Rows to rows: the decoder, its branches, norms, feed-forwards and rotary tables. */
@NullMarked
package io.nightmill.layers;

import org.jspecify.annotations.NullMarked;
