package io.nightmill.pipeline;

import java.util.Arrays;
import java.util.Locale;

/** What happens to a prompt that does not fit the model's context. */
public enum OnTooLong {
    ERROR,
    /** Its beginning is cut off. */
    TRUNCATE_LEFT,
    /** Its end is cut off. */
    TRUNCATE_RIGHT;

    public static OnTooLong of(String name) {
        return Arrays.stream(values())
                .filter(value ->
                        value.name().toLowerCase(Locale.ROOT).replace('_', '-').equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "Cannot use on-too-long '" + name + "', expected error, truncate-left or truncate-right"));
    }
}
