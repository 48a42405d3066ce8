package io.nightmill.weights;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Format;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A GGUF file (versions 2 and 3) with all its splits: metadata and tensors. The file is untrusted: every count and offset
 * is checked against the file's size.
 */
public final class Gguf {
    private static final Map<Integer, Format> FORMATS = Map.ofEntries(
            Map.entry(0, Format.F32),
            Map.entry(1, Format.F16),
            Map.entry(2, Format.Q4_0),
            Map.entry(3, Format.Q4_1),
            Map.entry(6, Format.Q5_0),
            Map.entry(7, Format.Q5_1),
            Map.entry(8, Format.Q8_0),
            Map.entry(10, Format.Q2_K),
            Map.entry(11, Format.Q3_K),
            Map.entry(12, Format.Q4_K),
            Map.entry(13, Format.Q5_K),
            Map.entry(14, Format.Q6_K),
            Map.entry(20, Format.IQ4_NL),
            Map.entry(23, Format.IQ4_XS),
            Map.entry(30, Format.BF16),
            Map.entry(39, Format.MXFP4));
    private static final Pattern SPLIT = Pattern.compile("(.*)-(\\d{5})-of-(\\d{5})\\.gguf");
    private static final int DEEPEST_ARRAY = 4;

    private final Path path;
    private final Map<String, Object> metadata;
    private final Map<String, Stored> tensors;

    private Gguf(Path path, Map<String, Object> metadata, Map<String, Stored> tensors) {
        this.path = path;
        this.metadata = metadata;
        this.tensors = tensors;
    }

    /**
     * @param path the file, or the first of its splits
     * @throws IllegalArgumentException saying what is wrong with the file
     */
    public static Gguf open(Path path) {
        Map<String, Object> metadata = new LinkedHashMap<>();
        Map<String, Stored> tensors = new LinkedHashMap<>();
        for (Path file : splits(path)) {
            try {
                new Reader(new MappedFile(file)).read(metadata, tensors);
            } catch (IOException e) {
                throw new IllegalArgumentException("Cannot read " + file + ": " + e.getMessage(), e);
            }
        }
        return new Gguf(path, metadata, tensors);
    }

    private static List<Path> splits(Path path) {
        Matcher name = SPLIT.matcher(path.getFileName().toString());
        if (!name.matches()) {
            return List.of(path);
        }
        List<Path> files = new ArrayList<>();
        int count = Integer.parseInt(name.group(3));
        for (int i = 1; i <= count; i++) {
            Path file =
                    path.resolveSibling(String.format(Locale.ROOT, "%s-%05d-of-%05d.gguf", name.group(1), i, count));
            if (!Files.exists(file)) {
                throw new IllegalArgumentException(
                        "Cannot open model %s: its split %s is missing".formatted(path, file));
            }
            files.add(file);
        }
        return files;
    }

    public Path path() {
        return path;
    }

    public Optional<String> text(String key) {
        return value(key, String.class);
    }

    public Optional<Long> integer(String key) {
        return value(key, Long.class);
    }

    public Optional<Double> real(String key) {
        return value(key, Number.class).map(Number::doubleValue);
    }

    public Optional<Boolean> flag(String key) {
        return value(key, Boolean.class);
    }

    /** A string, Long, Double, Boolean or a list of these. */
    public Optional<Object> value(String key) {
        return Optional.ofNullable(metadata.get(key));
    }

    /** A list's elements, or a single value as a list of one; empty where the key is absent. */
    public <T> List<T> list(String key, Class<T> type) {
        Object value = metadata.get(key);
        List<?> elements = value instanceof List<?> list ? list : value == null ? List.of() : List.of(value);
        for (Object element : elements) {
            if (!type.isInstance(element)) {
                throw wrongType(key, element, type);
            }
        }
        @SuppressWarnings("unchecked")
        List<T> typed = (List<T>) elements;
        return typed;
    }

    private <T> Optional<T> value(String key, Class<T> type) {
        Object value = metadata.get(key);
        if (value != null && !type.isInstance(value)) {
            throw wrongType(key, value, type);
        }
        return Optional.ofNullable(type.cast(value));
    }

    private IllegalArgumentException wrongType(String key, Object value, Class<?> type) {
        return new IllegalArgumentException("Cannot use key '%s' of %s: found %s, expected %s"
                .formatted(key, path, value, type.getSimpleName().toLowerCase(Locale.ROOT)));
    }

    public boolean hasTensor(String name) {
        return tensors.containsKey(name);
    }

    /** The values of a small vector. */
    public float[] values(String name) {
        Stored stored = tensors.get(name);
        if (stored == null) {
            throw new IllegalArgumentException("Cannot read tensor '%s' of %s: it is missing".formatted(name, path));
        }
        return stored.read();
    }

    /** Extents of a tensor, outermost first, or null. */
    public long @Nullable [] shape(String name) {
        Stored stored = tensors.get(name);
        return stored == null ? null : stored.shape().clone();
    }

    /**
     * The tensors under other names.
     *
     * @param rename from GGUF's names; null leaves a tensor out
     */
    public Checkpoint checkpoint(Function<String, @Nullable String> rename, Backend backend) {
        Map<String, Stored> renamed = new LinkedHashMap<>();
        tensors.forEach((name, stored) -> {
            String other = rename.apply(name);
            if (other != null) {
                renamed.put(
                        other,
                        new Stored(
                                other,
                                stored.type(),
                                stored.format(),
                                stored.shape(),
                                stored.file(),
                                stored.offset(),
                                stored.bytes()));
            }
        });
        return Checkpoint.of(path.toString(), renamed, backend);
    }

    /** A cursor over one file's header. */
    private static final class Reader {
        private static final long WINDOW = 1L << 20;

        private final MappedFile file;
        private long position;
        private long windowStart;
        private ByteBuffer window = ByteBuffer.allocate(0);

        Reader(MappedFile file) {
            this.file = file;
        }

        void read(Map<String, Object> metadata, Map<String, Stored> tensors) {
            if (file.size() < 24 || u32() != 0x46554747) {
                throw wrong("it does not begin with GGUF");
            }
            long version = u32();
            if (version != 2 && version != 3) {
                throw wrong("it has version " + version + ", expected 2 or 3");
            }
            long tensorCount = count(u64(), 24, "tensors");
            long keyCount = count(u64(), 13, "keys");
            for (long i = 0; i < keyCount; i++) {
                String key = string();
                metadata.putIfAbsent(key, value((int) u32(), 0));
            }
            List<Stored> mine = new ArrayList<>();
            for (long i = 0; i < tensorCount; i++) {
                mine.add(tensor());
            }
            long alignment = metadata.get("general.alignment") instanceof Long given ? given : 32;
            if (alignment < 1 || alignment > 1 << 20) {
                throw wrong("it has alignment " + alignment);
            }
            long data = (position + alignment - 1) / alignment * alignment;
            for (Stored stored : mine) {
                long offset = data + stored.offset();
                if (stored.offset() < 0 || stored.bytes() > file.size() - offset) {
                    throw wrong("tensor '%s' (%s) lies at %d to %d of %d bytes"
                            .formatted(stored.name(), stored.describe(), offset, offset + stored.bytes(), file.size()));
                }
                Stored placed = new Stored(
                        stored.name(), stored.type(), stored.format(), stored.shape(), file, offset, stored.bytes());
                if (tensors.put(stored.name(), placed) != null) {
                    throw wrong("tensor '" + stored.name() + "' is there twice");
                }
            }
        }

        private Stored tensor() {
            String name = string();
            long dimensions = u32();
            if (dimensions < 1 || dimensions > 4) {
                throw wrong("tensor '%s' has %d dimensions".formatted(name, dimensions));
            }
            long[] shape = new long[(int) dimensions];
            long values = 1;
            for (int i = shape.length - 1; i >= 0; i--) {
                shape[i] = u64();
                if (shape[i] < 1 || shape[i] > Long.MAX_VALUE / 1024 / values) {
                    throw wrong("tensor '%s' has an extent of %d".formatted(name, shape[i]));
                }
                values *= shape[i];
            }
            int type = (int) u32();
            long offset = u64();
            Format format = FORMATS.get(type);
            if (format == null) {
                throw wrong("tensor '%s' has ggml type %d, known are %s".formatted(name, type, FORMATS));
            }
            return new Stored(
                    name,
                    format.name(),
                    format,
                    shape,
                    file,
                    offset,
                    values / shape[shape.length - 1] * rowBytes(name, format, shape));
        }

        private long rowBytes(String name, Format format, long[] shape) {
            long row = shape[shape.length - 1];
            if (row % format.blockValues() != 0) {
                throw wrong("tensor '%s' has rows of %d values, not whole blocks of %s".formatted(name, row, format));
            }
            return format.rowBytes(row);
        }

        private Object value(int type, int depth) {
            return switch (type) {
                case 0 -> (long) (take(1).get() & 255);
                case 1 -> (long) take(1).get();
                case 2 -> (long) (take(2).getShort() & 0xffff);
                case 3 -> (long) take(2).getShort();
                case 4 -> u32();
                case 5 -> (long) take(4).getInt();
                case 6 -> (double) take(4).getFloat();
                case 7 -> take(1).get() != 0;
                case 8 -> string();
                case 9 -> array(depth);
                case 10, 11 -> u64();
                case 12 -> take(8).getDouble();
                default -> throw wrong("it has a value of type " + type);
            };
        }

        private List<Object> array(int depth) {
            if (depth == DEEPEST_ARRAY) {
                throw wrong("it has arrays in arrays, more than " + DEEPEST_ARRAY + " deep");
            }
            int type = (int) u32();
            long count = count(u64(), 1, "elements");
            List<Object> list = new ArrayList<>();
            for (long i = 0; i < count; i++) {
                list.add(value(type, depth + 1));
            }
            return list;
        }

        private String string() {
            long length = count(u64(), 1, "bytes of text");
            if (length > 1 << 28) {
                throw wrong("it has a text of %d bytes".formatted(length));
            }
            return StandardCharsets.UTF_8.decode(take((int) length)).toString();
        }

        /** A count of things of at least {@code size} bytes, which the rest of the file must have room for. */
        private long count(long count, int size, String what) {
            if (count < 0 || count > (file.size() - position) / size) {
                throw wrong("it says it has %s %s, with %d bytes left"
                        .formatted(Long.toUnsignedString(count), what, file.size() - position));
            }
            return count;
        }

        private long u32() {
            return Integer.toUnsignedLong(take(4).getInt());
        }

        private long u64() {
            return take(8).getLong();
        }

        private ByteBuffer take(int length) {
            if (position + length > file.size()) {
                throw wrong("it ends at byte %d, in the middle of its header".formatted(file.size()));
            }
            if (position < windowStart || position + length > windowStart + window.capacity()) {
                windowStart = position;
                window = file.slice(position, Math.min(Math.max(WINDOW, length), file.size() - position));
            }
            ByteBuffer bytes =
                    window.slice((int) (position - windowStart), length).order(ByteOrder.LITTLE_ENDIAN);
            position += length;
            return bytes;
        }

        private IllegalArgumentException wrong(String what) {
            return new IllegalArgumentException("Cannot read " + file.path() + " as GGUF: " + what);
        }
    }
}
