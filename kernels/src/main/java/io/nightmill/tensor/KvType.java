package io.nightmill.tensor;

import java.util.Arrays;
import java.util.Locale;

/** How keys and values are held in pages ({@code --kv-dtype}). */
public enum KvType {
    F32(4, 0),
    BF16(2, 0),
    /** Signed bytes with a float32 factor for each {@value #GROUP} values of a head. */
    INT8(1, 4);

    /** Values of a head that share a factor; a head's last group may be shorter. */
    public static final int GROUP = 32;

    private final int valueBytes;
    private final int groupBytes;

    KvType(int valueBytes, int groupBytes) {
        this.valueBytes = valueBytes;
        this.groupBytes = groupBytes;
    }

    /** @throws IllegalArgumentException naming the known types */
    public static KvType of(String name) {
        return Arrays.stream(values())
                .filter(type -> type.name().toLowerCase(Locale.ROOT).equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "Cannot use kv-dtype '" + name + "', expected auto, f32, bf16 or int8"));
    }

    /** Groups of a head. */
    public static int groups(int headWidth) {
        return (headWidth + GROUP - 1) / GROUP;
    }

    /** Bytes of one token's row. */
    public long rowBytes(State.Spec.Paged spec) {
        return (long) spec.heads() * (spec.headWidth() * valueBytes + groups(spec.headWidth()) * groupBytes);
    }
}
