/** Layers that look along time. */
@NullMarked
package io.nightmill.mixers;

import org.jspecify.annotations.NullMarked;
