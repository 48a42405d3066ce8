package io.nightmill.kernels.gpu;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** One run of a kernel: which, with what, over how many groups. */
final class Launch {
    private final Class<? extends DeviceKernel> family;
    private final String entry;
    private final Map<String, Object> values = new HashMap<>();
    private int groupsX = 1;
    private int groupsY = 1;
    private int width = DeviceKernel.GROUP;
    private int depth = 1;
    private String form = "";
    private double flops;
    private double bytes;

    Launch(Class<? extends DeviceKernel> family, String entry) {
        this.family = family;
        this.entry = entry;
    }

    Launch set(String field, int value) {
        values.put(field, value);
        return this;
    }

    Launch set(String field, boolean value) {
        return set(field, value ? 1 : 0);
    }

    Launch set(String field, float value) {
        values.put(field, value);
        return this;
    }

    /** An array; one that is not there is never read. */
    Launch set(String field, Device.@Nullable View view) {
        values.put(field, view);
        return this;
    }

    /** Values that a group's array has room for, where all that it is declared with are not needed. */
    Launch room(String field, int floats) {
        return set(field, floats);
    }

    /** Bytes of a group's array. */
    int localBytes(Translator.Parameter parameter) {
        Object floats = values.get(parameter.name());
        return floats == null ? parameter.localBytes() : (Integer) floats * parameter.elementBytes();
    }

    /** A lane for each of {@code size} values, which the kernel is told. */
    Launch eachOf(int size) {
        return set("size", size).lanes(size);
    }

    /** One-dimensional, with a lane for each of {@code lanes} and the rest of the last group. */
    Launch lanes(long lanes) {
        groupsX = Math.toIntExact((lanes + DeviceKernel.GROUP - 1) / DeviceKernel.GROUP);
        return this;
    }

    /** {@code x * y} groups of {@value DeviceKernel#GROUP} by {@code depth} lanes. */
    Launch groups(int x, int y, int depth) {
        groupsX = x;
        groupsY = y;
        this.depth = depth;
        return this;
    }

    /** In place of the Java kernel, OpenCL C of the same parameters, {@code <entry><form>.cl}, with groups of its own size. */
    Launch tuned(String form, int width, int depth) {
        this.form = form;
        this.width = width;
        this.depth = depth;
        return this;
    }

    /** What it does, for the report: operations, and bytes of weights. */
    Launch work(double flops, double bytes) {
        this.flops = flops;
        this.bytes = bytes;
        return this;
    }

    double flops() {
        return flops;
    }

    double bytes() {
        return bytes;
    }

    /** Of the OpenCL C, or empty for the translated Java. */
    String form() {
        return form;
    }

    Class<? extends DeviceKernel> family() {
        return family;
    }

    String entry() {
        return entry;
    }

    int groupsX() {
        return groupsX;
    }

    int groupsY() {
        return groupsY;
    }

    int width() {
        return width;
    }

    int depth() {
        return depth;
    }

    /** The value of a field: Integer, Float, or a view that may be null. */
    @Nullable
    Object value(String field) {
        if (!values.containsKey(field)) {
            throw new IllegalStateException("Cannot run " + this + ": nothing is given for " + field);
        }
        return values.get(field);
    }

    @Override
    public String toString() {
        return family.getSimpleName() + "." + entry + form;
    }
}
