/** Tensors, weights' number formats, batches and states: the nouns that every kernel speaks. */
@NullMarked
package io.nightmill.tensor;

import org.jspecify.annotations.NullMarked;
