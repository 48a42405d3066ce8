package io.nightmill.weights;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes GGUF v3 files for tests, from a Hugging Face folder's tensors. */
public final class GgufWriter {
    private static final int ALIGNMENT = 32;

    private record Entry(String name, int type, long[] shape, byte[] data) {}

    private final Map<String, Object> metadata = new LinkedHashMap<>();
    private final List<Entry> tensors = new ArrayList<>();

    /** All tensors of a folder's model.safetensors as float32 values. */
    public static Map<String, float[]> values(Path folder) {
        return valuesOf(folder.resolve("model.safetensors"));
    }

    public static Map<String, float[]> valuesOf(Path safetensors) {
        Map<String, float[]> values = new LinkedHashMap<>();
        SafeTensors.read(safetensors).forEach((name, stored) -> {
            if (stored.format() != null) {
                values.put(name, stored.read());
            }
        });
        return values;
    }

    public static Map<String, long[]> shapes(Path folder) {
        Map<String, long[]> shapes = new LinkedHashMap<>();
        SafeTensors.read(folder.resolve("model.safetensors"))
                .forEach((name, stored) -> shapes.put(name, stored.shape()));
        return shapes;
    }

    /** Bytes of a tensor as stored. */
    public static byte[] bytes(Path folder, String name) {
        Stored stored = SafeTensors.read(folder.resolve("model.safetensors")).get(name);
        byte[] bytes = new byte[(int) stored.bytes()];
        stored.file().slice(stored.offset(), stored.bytes()).get(bytes);
        return bytes;
    }

    /** A string, Long, Double, Boolean, or a list of strings or Longs. */
    public GgufWriter put(String key, Object value) {
        metadata.put(key, value);
        return this;
    }

    public GgufWriter tensor(String name, float[] values, long... shape) {
        ByteBuffer data = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
        data.asFloatBuffer().put(values);
        return tensor(name, 0, data.array(), shape);
    }

    /** @param type ggml's number of the format */
    public GgufWriter tensor(String name, int type, byte[] data, long... shape) {
        tensors.add(new Entry(name, type, shape, data));
        return this;
    }

    public void write(Path file) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        u32(out, 0x46554747);
        u32(out, 3);
        u64(out, tensors.size());
        u64(out, metadata.size());
        metadata.forEach((key, value) -> {
            string(out, key);
            value(out, value);
        });
        long offset = 0;
        for (Entry tensor : tensors) {
            string(out, tensor.name);
            u32(out, tensor.shape.length);
            for (int i = tensor.shape.length - 1; i >= 0; i--) {
                u64(out, tensor.shape[i]);
            }
            u32(out, tensor.type);
            u64(out, offset);
            offset += aligned(tensor.data.length);
        }
        pad(out);
        for (Entry tensor : tensors) {
            out.write(tensor.data);
            pad(out);
        }
        Files.write(file, out.toByteArray());
    }

    private static long aligned(long size) {
        return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    private static void pad(ByteArrayOutputStream out) {
        while (out.size() % ALIGNMENT != 0) {
            out.write(0);
        }
    }

    private static void u32(ByteArrayOutputStream out, long value) {
        for (int i = 0; i < 4; i++) {
            out.write((int) (value >> 8 * i));
        }
    }

    private static void u64(ByteArrayOutputStream out, long value) {
        u32(out, value);
        u32(out, value >> 32);
    }

    private static void string(ByteArrayOutputStream out, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        u64(out, bytes.length);
        out.writeBytes(bytes);
    }

    private static void value(ByteArrayOutputStream out, Object value) {
        if (value instanceof String text) {
            u32(out, 8);
            string(out, text);
        } else if (value instanceof Long number) {
            u32(out, 10);
            u64(out, number);
        } else if (value instanceof Double number) {
            u32(out, 12);
            u64(out, Double.doubleToRawLongBits(number));
        } else if (value instanceof Boolean flag) {
            u32(out, 7);
            out.write(flag ? 1 : 0);
        } else if (value instanceof List<?> list) {
            boolean texts = list.isEmpty() || list.get(0) instanceof String;
            u32(out, 9);
            u32(out, texts ? 8 : 10);
            u64(out, list.size());
            list.forEach(element -> {
                if (texts) {
                    string(out, (String) element);
                } else {
                    u64(out, (Long) element);
                }
            });
        } else {
            throw new IllegalArgumentException("Cannot write " + value);
        }
    }
}
