/** The OpenCL runtime: kernels written in Java, translated by Aparapi, and run over memory that stays on the device. */
@NullMarked
package io.nightmill.kernels.gpu;

import org.jspecify.annotations.NullMarked;
