/** Checkpoints: safetensors and GGUF files as scoped, shape-checked weights, and their configuration. */
@NullMarked
package io.nightmill.weights;

import org.jspecify.annotations.NullMarked;
