package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import com.esotericsoftware.kryo.Kryo;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import org.junit.jupiter.api.Test;

class PlaceTest {
    private static final Place PLACE = new Place(new byte[] {1, 2, 3, 4}, "Inhalt ß", 7, 1L << 40, 3, 12);

    private static Place read(byte[] bytes) {
        return new Place.Serializer().read(new Kryo(), new Input(bytes), Place.class);
    }

    private static byte[] written() {
        Output output = new Output(1024);
        new Place.Serializer().write(new Kryo(), output, PLACE);
        return output.toBytes();
    }

    @Test
    void isReadAsItWasWritten() {
        assertThat(read(written())).usingRecursiveComparison().isEqualTo(PLACE);
    }

    @Test
    void noChangedByteIsRead() {
        Changes.refusedInEachBit(written(), PlaceTest::read);
    }

    /** Spark would take Kryo's own exception for the end of the rows. */
    @Test
    void whatEndsEarlyIsNoEnd() {
        Changes.refusedAtEachLength(written(), PlaceTest::read);
    }
}
