package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class KeptTest {
    private static List<String> read(Object... block) {
        List<String> elements = new ArrayList<>();
        Kept.elements(List.of(block).iterator(), String.class, reason -> reason).forEachRemaining(elements::add);
        return elements;
    }

    @Test
    void wholeBlocksAreRead() {
        assertThat(read(new Kept.End(0))).isEmpty();
        assertThat(read("a", "b", new Kept.End(2))).containsExactly("a", "b");
    }

    @Test
    void blocksThatLackSomethingAreNot() {
        assertThatThrownBy(() -> read())
                .isInstanceOf(CorruptRowsException.class)
                .hasMessageContaining("end early");
        assertThatThrownBy(() -> read("a", "b")).isInstanceOf(CorruptRowsException.class);
        assertThatThrownBy(() -> read("b", new Kept.End(2)))
                .isInstanceOf(CorruptRowsException.class)
                .hasMessageContaining("1 elements, expected 2");
        assertThatThrownBy(() -> read("a", 7, new Kept.End(2))).isInstanceOf(ClassCastException.class);
    }
}
