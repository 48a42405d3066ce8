/** The operations of a decoder and their implementations on the CPU. */
@NullMarked
package io.nightmill.kernels;

import org.jspecify.annotations.NullMarked;
