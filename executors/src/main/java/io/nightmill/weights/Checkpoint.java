package io.nightmill.weights;

import io.nightmill.kernels.Backend;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.Format;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.Panels;
import io.nightmill.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The weights of a model: the tensors of all its files, read where they are mapped. */
public final class Checkpoint implements Weights {
    private static final int PANEL_BYTES = 1 << 30;

    /** What all scopes of one checkpoint share. */
    private record Shared(
            String source, Map<String, Stored> tensors, Set<String> read, Backend backend, int[] fp8Block) {}

    private final Shared files;
    private final String scope;

    private Checkpoint(Shared files, String scope) {
        this.files = files;
        this.scope = scope;
    }

    /** The safetensors files of a Hugging Face folder. */
    public static Checkpoint safetensors(Path folder, ConfigNode config, Backend backend) {
        Map<String, Stored> tensors = new LinkedHashMap<>();
        for (Path file : shards(folder)) {
            SafeTensors.read(file).forEach((name, tensor) -> {
                if (tensors.put(name, tensor) != null) {
                    throw new IllegalArgumentException(
                            "Cannot use %s: tensor '%s' is in two files".formatted(folder, name));
                }
            });
        }
        List<Integer> block = config.at("quantization_config").ints("weight_block_size");
        int[] fp8Block = block.size() == 2 ? new int[] {block.get(0), block.get(1)} : new int[] {128, 128};
        return new Checkpoint(new Shared(folder.toString(), tensors, new HashSet<>(), backend, fp8Block), "");
    }

    static Checkpoint of(String source, Map<String, Stored> tensors, Backend backend) {
        return new Checkpoint(new Shared(source, tensors, new HashSet<>(), backend, new int[] {128, 128}), "");
    }

    private static List<Path> shards(Path folder) {
        Path index = folder.resolve("model.safetensors.index.json");
        if (Files.exists(index)) {
            Set<String> names = new TreeSet<>();
            ConfigNode.read(index).json().path("weight_map").forEach(name -> names.add(name.asText()));
            for (String name : names) {
                if (name.contains("/") || !Files.exists(folder.resolve(name))) {
                    throw new IllegalArgumentException("Cannot open model %s: %s names the shard '%s', which is missing"
                            .formatted(folder, index.getFileName(), name));
                }
            }
            return names.stream().map(folder::resolve).toList();
        }
        try (Stream<Path> list = Files.list(folder)) {
            List<Path> shards = list.filter(path -> path.toString().endsWith(".safetensors"))
                    .sorted()
                    .toList();
            if (shards.isEmpty()) {
                throw new IllegalArgumentException(
                        "Cannot open model %s: it has no *.safetensors file".formatted(folder));
            }
            return shards;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Bytes of all tensors in the files. */
    public long bytes() {
        return files.tensors.values().stream().mapToLong(Stored::bytes).sum();
    }

    /** Values of all tensors in the files. */
    public long parameters() {
        return files.tensors.values().stream().mapToLong(Stored::values).sum();
    }

    @Override
    public Weights in(String name) {
        return new Checkpoint(files, scope + name + ".");
    }

    @Override
    public boolean has(String name) {
        return files.tensors.containsKey(scope + name);
    }

    @Override
    public int[] shape(String name) {
        Stored tensor = files.tensors.get(scope + name);
        if (tensor == null) {
            throw new IllegalArgumentException(
                    "Cannot load model %s: tensor '%s' is missing".formatted(files.source, scope + name));
        }
        return Arrays.stream(tensor.shape()).mapToInt(Math::toIntExact).toArray();
    }

    private Stored stored(String name, long... shape) {
        Stored tensor = files.tensors.get(scope + name);
        if (tensor == null) {
            throw new IllegalArgumentException("Cannot load model %s: tensor '%s' %s is missing"
                    .formatted(files.source, scope + name, Arrays.toString(shape)));
        }
        if (!Arrays.equals(squeezed(tensor.shape()), squeezed(shape))) {
            throw new IllegalArgumentException("Cannot load model %s: tensor '%s' has shape %s, expected %s"
                    .formatted(files.source, scope + name, Arrays.toString(tensor.shape()), Arrays.toString(shape)));
        }
        files.read.add(scope + name);
        return tensor;
    }

    private static long[] squeezed(long[] shape) {
        return Arrays.stream(shape).filter(extent -> extent != 1).toArray();
    }

    @Override
    public float[] values(String name, int... shape) {
        return stored(name, Arrays.stream(shape).asLongStream().toArray()).read();
    }

    @Override
    public Tensor tensor(String name, float offset, int rows, int width) {
        float[] read = rows == 1 ? values(name, width) : values(name, rows, width);
        for (int i = 0; i < read.length; i++) {
            read[i] += offset;
        }
        return upload(rows, width, read);
    }

    @Override
    public Tensor upload(int rows, int width, float[] values) {
        Buffer buffer = files.backend.allocate(values.length);
        Tensor tensor = new Tensor(buffer, 0, rows, width);
        files.backend.upload(tensor, values);
        return tensor;
    }

    @Override
    public Matrix matrix(String name, int out, int in) {
        Stored tensor = stored(name, out, in);
        return view(tensor, tensor.offset(), out, in, scales(name, out, in));
    }

    @Override
    public Matrix matrix(String name, int out, int in, int[] rows) {
        Stored tensor = stored(name, out, in);
        Matrix.Scales scales = scales(name, out, in);
        if (scales != null) {
            throw new IllegalArgumentException(
                    "Cannot load model %s: the rows of '%s' must be sorted, and its FP8 scales cannot"
                            .formatted(files.source, scope + name));
        }
        return Matrices.rows(view(tensor, tensor.offset(), out, in, null), rows);
    }

    private Matrix view(Stored tensor, long offset, int out, int in, Matrix.@Nullable Scales scales) {
        long rowBytes = tensor.weightFormat().rowBytes(in);
        int panelRows = (int) Math.max(1, Math.min(out, PANEL_BYTES / rowBytes));
        return new Matrix(
                tensor.weightFormat(),
                out,
                in,
                tensor.file().panels(offset, out, rowBytes, panelRows),
                panelRows,
                scales);
    }

    /** The scales of an FP8 weight: blocks as the configuration says, or one factor for the whole tensor. */
    private Matrix.@Nullable Scales scales(String name, int out, int in) {
        for (String suffix : List.of("_scale_inv", "_scale")) {
            Stored scale = files.tensors.get(scope + name + suffix);
            if (scale != null) {
                int[] shape =
                        Arrays.stream(scale.shape()).mapToInt(Math::toIntExact).toArray();
                float[] values = values(name + suffix, shape);
                if (values.length == 1) {
                    return new Matrix.Scales(values, out, in);
                }
                int[] block = files.fp8Block;
                int expected = (out + block[0] - 1) / block[0] * ((in + block[1] - 1) / block[1]);
                if (values.length != expected) {
                    throw new IllegalArgumentException(
                            "Cannot load model %s: '%s' has %d scales, expected %d for blocks of %s"
                                    .formatted(
                                            files.source,
                                            scope + name + suffix,
                                            values.length,
                                            expected,
                                            Arrays.toString(block)));
                }
                return new Matrix.Scales(values, block[0], block[1]);
            }
        }
        return null;
    }

    @Override
    public List<Matrix> stack(String name, int count, int out, int in) {
        if (has(name + "_blocks")) {
            return microscaled(name, count, out, in);
        }
        Stored tensor = stored(name, count, out, in);
        long bytes = tensor.bytes() / count;
        List<Matrix> slices = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            slices.add(view(tensor, tensor.offset() + i * bytes, out, in, null));
        }
        return slices;
    }

    @Override
    public List<Matrix> stackTransposed(String name, int count, int out, int in) {
        Stored tensor = stored(name, count, in, out);
        long bytes = tensor.bytes() / count;
        List<Matrix> slices = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Matrix stored = view(tensor, tensor.offset() + i * bytes, in, out, null);
            slices.add(Matrices.transpose(stored));
        }
        return slices;
    }

    /** Experts stored as {@code name_blocks [count, out, in / 32, 16]} and {@code name_scales}, repacked as GGUF has them. */
    private List<Matrix> microscaled(String name, int count, int out, int in) {
        Stored blocks = stored(name + "_blocks", count, out, in / 32, 16);
        Stored scales = stored(name + "_scales", count, out, in / 32);
        int perExpert = out * (in / 32);
        List<Matrix> experts = new ArrayList<>();
        for (int e = 0; e < count; e++) {
            long first = (long) e * perExpert;
            Panels panels = Panels.onDemand(
                    1,
                    perExpert * 17L,
                    i -> repacked(
                            blocks.file().slice(blocks.offset() + first * 16, perExpert * 16L),
                            scales.file().slice(scales.offset() + first, perExpert)));
            experts.add(new Matrix(Format.MXFP4, out, in, panels, out, null));
        }
        return experts;
    }

    private static ByteBuffer repacked(ByteBuffer blocks, ByteBuffer scales) {
        int count = scales.capacity();
        ByteBuffer to = ByteBuffer.allocateDirect(count * 17);
        for (int block = 0; block < count; block++) {
            to.put(block * 17, scales.get(block));
            for (int i = 0; i < 16; i++) {
                // Here bytes hold neighbours (2i, 2i + 1), there the values i and i + 16.
                to.put(block * 17 + 1 + i, (byte) (nibble(blocks, block, i) | nibble(blocks, block, i + 16) << 4));
            }
        }
        return to;
    }

    private static int nibble(ByteBuffer blocks, int block, int value) {
        return blocks.get(block * 16 + value / 2) >> 4 * (value % 2) & 15;
    }

    @Override
    public void ignore(String glob) {
        Pattern pattern = Pattern.compile(Arrays.stream((scope + glob).split("\\*", -1))
                .map(Pattern::quote)
                .collect(Collectors.joining(".*")));
        files.tensors.keySet().stream()
                .filter(name -> pattern.matcher(name).matches())
                .forEach(files.read::add);
    }

    @Override
    public void requireAllRead() {
        List<String> unread = files.tensors.values().stream()
                .filter(tensor -> !files.read.contains(tensor.name()))
                .map(tensor -> tensor.name() + " (" + tensor.describe() + ")")
                .toList();
        if (!unread.isEmpty()) {
            throw new IllegalArgumentException(
                    "Cannot load model %s: %d tensors belong to no layer of its architecture: %s"
                            .formatted(
                                    files.source,
                                    unread.size(),
                                    String.join(", ", unread.subList(0, Math.min(10, unread.size())))));
        }
    }
}
