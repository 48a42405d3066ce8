/** Model families: short, declarative lists of layers. */
@NullMarked
package io.nightmill.models;

import org.jspecify.annotations.NullMarked;
