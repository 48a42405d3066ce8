package io.nightmill.layers;

import static org.assertj.core.api.Assertions.assertThat;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.Tensor;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ScratchTest {
    private static final int MB = 1 << 18;

    private final List<Long> allocated = new ArrayList<>();
    private final Scratch scratch = new Scratch((Backend)
            Proxy.newProxyInstance(Backend.class.getClassLoader(), new Class<?>[] {Backend.class}, this::allocate));

    /** A backend that allocates, and nothing else. */
    private Object allocate(Object backend, Method method, Object[] arguments) {
        assertThat(method.getName()).isEqualTo("allocate");
        long values = (Long) arguments[0];
        allocated.add(values);
        return (Buffer) () -> values;
    }

    private void step() {
        Scratch.Mark begin = scratch.mark();
        Tensor kept = scratch.tensor(16, MB);
        Scratch.Mark mark = scratch.mark();
        Tensor a = scratch.tensor(8, MB);
        Tensor b = scratch.tensor(8, MB);
        assertThat(a.buffer() != b.buffer() || a.offset() != b.offset()).isTrue();
        scratch.release(mark);
        Tensor c = scratch.tensor(24, MB);
        assertThat(c.buffer() != kept.buffer() || c.offset() >= kept.offset() + 16 * MB)
                .isTrue();
        scratch.release(begin);
    }

    @Test
    void oneChunkOfWhatIsInUseAtOnceTakesTheirPlace() {
        step();
        assertThat(allocated).containsExactly(16L * MB, 8L * MB, 8L * MB, 24L * MB, 40L * MB);
        step();
        step();
        assertThat(allocated).hasSize(5);
        Scratch.Mark begin = scratch.mark();
        assertThat(scratch.tensor(16, MB).buffer())
                .isSameAs(scratch.tensor(24, MB).buffer());
        scratch.release(begin);
    }

    @Test
    void whatIsInUseStays() {
        Tensor kept = scratch.tensor(8, MB);
        Scratch.Mark mark = scratch.mark();
        scratch.tensor(8, MB);
        scratch.release(mark);
        Tensor other = scratch.tensor(8, MB);
        assertThat(other.buffer()).isNotSameAs(kept.buffer());
        assertThat(allocated).hasSize(2);
    }
}
