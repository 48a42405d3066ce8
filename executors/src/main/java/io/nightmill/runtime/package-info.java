/** One model and one engine per JVM. */
@NullMarked
package io.nightmill.runtime;

import org.jspecify.annotations.NullMarked;
