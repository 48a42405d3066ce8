package io.nightmill.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.nightmill.kernels.Backend;
import io.nightmill.kernels.HostBackend;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class OperationTimesTest {
    private final OperationTimes times = new OperationTimes(new HostBackend(1));
    private final Backend backend = times.timed();

    @AfterEach
    void close() {
        backend.close();
    }

    private Tensor ones(int rows, int width) {
        Tensor tensor = new Tensor(backend.allocate((long) rows * width), 0, rows, width);
        float[] values = new float[rows * width];
        Arrays.fill(values, 1);
        backend.upload(tensor, values);
        return tensor;
    }

    @Test
    void printsCallsByWeight() {
        ByteBuffer bytes = ByteBuffer.allocateDirect(4 * 32 * 16).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < 32 * 16; i++) {
            bytes.putFloat(4 * i, 0.5f);
        }
        Matrix w = new Matrix(Format.F32, 16, 32, List.of(bytes), 16, null);
        Tensor x = ones(2, 32);
        Tensor out = ones(2, 16);
        times.clear();
        backend.matmul(out, 0, x, w, null);
        backend.matmul(out, 0, x, w, null);
        backend.add(out, out, out, 1);
        float[] values = new float[32];
        backend.download(out, values);
        assertThat(values).containsOnly(32);

        String table = printed(() -> times.print("of a test", 1));
        assertThat(table)
                .contains("| of a test | calls | ms | share |")
                .containsPattern("\\| matmul 32 x 16 \\| 2 \\| [\\d.]+ \\| \\d+% \\|")
                .containsPattern("\\| add \\| 1 \\| ")
                .containsPattern("\\| between operations \\| 0 \\| 9\\d\\d\\.\\d \\|");
        times.clear();
        assertThat(printed(() -> times.print("of nothing", 1))).doesNotContain("matmul");
    }

    @Test
    void failuresAreTheBackendsOwn() {
        Tensor x = ones(2, 32);
        Matrix wrong = new Matrix(Format.F32, 16, 8, List.of(ByteBuffer.allocateDirect(4 * 16 * 8)), 16, null);
        assertThatThrownBy(() -> backend.matmul(ones(2, 16), 0, x, wrong, null))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("Cannot multiply [2, 32] by [16, 8]");
    }

    private static String printed(Runnable body) {
        PrintStream before = System.out;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        System.setOut(new PrintStream(bytes, true));
        try {
            body.run();
        } finally {
            System.setOut(before);
        }
        return bytes.toString();
    }
}
