package io.nightmill.kernels.gpu;

import io.nightmill.kernels.gpu.OpenClDevice.Info;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * The GPUs of a machine in the form of Spark's discovery scripts. A program of its own, which needs nothing but the jar: Spark runs it
 * before there is a Spark.
 */
public final class Discovery {
    private Discovery() {}

    /** @param args {@code all} counts devices that are no GPUs too */
    public static void main(String[] args) {
        boolean all = Arrays.asList(args).contains("all");
        System.out.println(OpenClDevice.list().stream()
                .filter(info -> all || info.gpu())
                .map(Info::index)
                .map(index -> "\"" + index + "\"")
                .collect(Collectors.joining(", ", "{\"name\": \"gpu\", \"addresses\": [", "]}")));
    }
}
