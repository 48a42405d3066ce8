package io.nightmill.weights;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nightmill.tensor.Format;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/** One safetensors file: eight bytes of header length, a JSON header, then the tensors. The file is untrusted. */
final class SafeTensors {
    private static final long LONGEST_HEADER = 100_000_000;
    private static final Map<String, Format> FORMATS =
            Map.of("F32", Format.F32, "F16", Format.F16, "BF16", Format.BF16, "F8_E4M3", Format.F8_E4M3);
    private static final Map<String, Integer> WIDTHS = Map.of(
            "F64", 8, "F32", 4, "F16", 2, "BF16", 2, "F8_E4M3", 1, "I64", 8, "I32", 4, "U8", 1, "I8", 1, "BOOL", 1);

    private SafeTensors() {}

    /** @throws IllegalArgumentException naming the file and tensor of a malformed header */
    static Map<String, Stored> read(Path path) {
        try {
            return read(new MappedFile(path));
        } catch (IOException e) {
            throw new IllegalArgumentException("Cannot read " + path + ": " + e.getMessage(), e);
        }
    }

    private static Map<String, Stored> read(MappedFile file) throws IOException {
        if (file.size() < 8) {
            throw wrong(file, "it has %d bytes, expected a header of at least 8".formatted(file.size()));
        }
        long header = file.slice(0, 8).getLong();
        if (header < 2 || header > LONGEST_HEADER || header + 8 > file.size()) {
            throw wrong(file, "its header says %d bytes, the file has %d".formatted(header, file.size()));
        }
        ByteBuffer bytes = file.slice(8, header);
        JsonNode json =
                new ObjectMapper().readTree(StandardCharsets.UTF_8.decode(bytes).toString());
        Map<String, Stored> tensors = new LinkedHashMap<>();
        Iterator<Map.Entry<String, JsonNode>> fields = json.fields();
        while (fields.hasNext()) {
            Map.Entry<String, JsonNode> field = fields.next();
            if (!field.getKey().equals("__metadata__")) {
                tensors.put(field.getKey(), tensor(field.getKey(), field.getValue(), file, 8 + header));
            }
        }
        return tensors;
    }

    private static Stored tensor(String name, JsonNode entry, MappedFile file, long data) {
        String type = entry.path("dtype").asText();
        Integer width = WIDTHS.get(type);
        if (width == null) {
            throw wrong(file, "tensor '%s' has type '%s', known are %s".formatted(name, type, WIDTHS.keySet()));
        }
        long[] shape = new long[entry.path("shape").size()];
        long values = 1;
        for (int i = 0; i < shape.length; i++) {
            shape[i] = entry.path("shape").get(i).asLong(-1);
            if (shape[i] < 0) {
                throw wrong(file, "tensor '%s' has shape %s".formatted(name, entry.path("shape")));
            }
            values = Math.multiplyExact(values, shape[i]);
        }
        long from = entry.path("data_offsets").path(0).asLong(-1);
        long to = entry.path("data_offsets").path(1).asLong(-1);
        if (from < 0
                || to < from
                || to > file.size() - data
                || to - from != Math.multiplyExact(values, width.longValue())) {
            throw wrong(
                    file,
                    "tensor '%s' (%s %s) lies at bytes %d to %d of %d"
                            .formatted(name, type, entry.path("shape"), from, to, file.size() - data));
        }
        return new Stored(name, type, FORMATS.get(type), shape, file, data + from, to - from);
    }

    private static IllegalArgumentException wrong(MappedFile file, String what) {
        return new IllegalArgumentException("Cannot read " + file.path() + " as safetensors: " + what);
    }
}
