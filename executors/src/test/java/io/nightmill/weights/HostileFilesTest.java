package io.nightmill.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Model files are untrusted: whatever is wrong with one is said, and nothing else happens. */
class HostileFilesTest {
    @TempDir
    Path temp;

    private Path safetensors(long header, String json, int data) throws IOException {
        byte[] text = json.getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + text.length + data).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(header < 0 ? text.length : header).put(text);
        return Files.write(temp.resolve("model.safetensors"), bytes.array());
    }

    private void assertRefused(Path file, String... parts) {
        assertThatThrownBy(() -> SafeTensors.read(file))
                .isInstanceOf(IllegalArgumentException.class)
                .message()
                .contains(parts);
    }

    @Test
    void safetensorsWithWrongHeaders() throws IOException {
        assertRefused(safetensors(1L << 60, "{}", 0), "header says");
        assertRefused(safetensors(-1, "{\"a\":", 0), "Cannot read");
        assertRefused(
                safetensors(-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 8),
                "'a'",
                "0 to 16 of 8");
        assertRefused(safetensors(-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", 16), "'a'");
        assertRefused(
                safetensors(-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,16]}}", 16),
                "shape [-1]");
        assertRefused(
                safetensors(-1, "{\"a\":{\"dtype\":\"Q9\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4), "type 'Q9'");
        assertThatThrownBy(() -> SafeTensors.read(safetensors(
                        -1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0)))
                .isInstanceOfAny(IllegalArgumentException.class, ArithmeticException.class);
    }

    @Test
    void ggufWithWrongCounts() throws IOException {
        Path good = temp.resolve("good.gguf");
        new GgufWriter()
                .put("general.architecture", "llama")
                .tensor("a", new float[64], 2, 32)
                .write(good);
        assertThat(Gguf.open(good).shape("a")).containsExactly(2, 32);
        byte[] bytes = Files.readAllBytes(good);
        for (int at : new int[] {8, 16, 24}) {
            byte[] wrong = bytes.clone();
            wrong[at + 6] = 0x7f;
            Path file = Files.write(temp.resolve("wrong.gguf"), wrong);
            assertThatThrownBy(() -> Gguf.open(file))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("Cannot read " + file);
        }
        Path cut = Files.write(temp.resolve("cut.gguf"), java.util.Arrays.copyOf(bytes, bytes.length - 64));
        assertThatThrownBy(() -> Gguf.open(cut)).hasMessageContaining("tensor 'a'");
    }

    @Test
    void damagedFilesNeverDoMoreThanFail() throws IOException {
        Path good = temp.resolve("good.gguf");
        new GgufWriter()
                .put("general.architecture", "llama")
                .put("tokenizer.ggml.tokens", java.util.List.of("a", "b", "c"))
                .put("llama.block_count", 2L)
                .tensor("a", new float[64], 2, 32)
                .tensor("b", new float[32], 32)
                .write(good);
        byte[] bytes = Files.readAllBytes(good);
        Random random = new Random(1);
        int refused = 0;
        for (int i = 0; i < 2000; i++) {
            byte[] damaged = bytes.clone();
            for (int j = 0; j <= random.nextInt(4); j++) {
                damaged[random.nextInt(200)] = (byte) random.nextInt(256);
            }
            Path file = Files.write(temp.resolve("damaged.gguf"), damaged);
            try {
                Gguf.open(file);
            } catch (IllegalArgumentException e) {
                refused++;
            }
        }
        assertThat(refused).isGreaterThan(500);
    }
}
