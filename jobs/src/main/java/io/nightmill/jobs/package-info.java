/** The commands, and what they have in common. */
@NullMarked
package io.nightmill.jobs;

import org.jspecify.annotations.NullMarked;
