/** Text to token ids and back, and chat templates. */
@NullMarked
package io.nightmill.text;

import org.jspecify.annotations.NullMarked;
