package io.nightmill.pipeline;

import io.nightmill.models.ModelLoader;
import io.nightmill.models.ModelText;
import io.nightmill.runtime.ExecutorRuntime;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.spark.SparkEnv;
import org.apache.spark.util.Utils;

/**
 * A model's files on this machine. Local ones are mapped where they are; others are copied once per executor JVM from
 * whatever file system Hadoop knows to Spark's local directory, and never pass through the driver.
 */
public final class ModelFiles {
    /** More than the header of any model seen so far. */
    private static final int HEAD_BYTES = 64 << 20;

    private static final int BLOCK_BYTES = 1 << 16;
    private static final int SAMPLES = 256;

    private static final Pattern SPLIT = Pattern.compile("(.*)-\\d{5}-of-\\d{5}\\.gguf");

    private interface Copy {
        void to(FileSystem files, FileStatus from, Path target) throws IOException;
    }

    private ModelFiles() {}

    /** A model's text side, read once per JVM. For executors. */
    public static ModelText text(String uri) {
        return ExecutorRuntime.text(uri, ModelFiles::localize);
    }

    /** The same for the driver, which fetches no weights. */
    public static ModelText textOnDriver(String uri) {
        return ModelLoader.loadText(sketch(uri));
    }

    /**
     * @param uri a local path, or a URI of a folder or file on a Hadoop file system
     * @throws IllegalArgumentException if there is nothing there
     */
    static Path localize(String uri) {
        if (isLocal(uri)) {
            return localPath(uri);
        }
        Path folder = Path.of(Utils.getLocalDir(SparkEnv.get().conf()))
                .resolve("nightmill-" + HexFormat.of().toHexDigits(uri.hashCode()));
        return copyAll(uri, folder, ModelFiles::copy);
    }

    /**
     * What a model's shapes and text can be checked by, before anything is loaded: its files where they are local, else its
     * small files and the heads of its weights, in files that are as long as the originals and empty behind.
     */
    static Path sketch(String uri) {
        if (isLocal(uri)) {
            return localPath(uri);
        }
        try {
            Path folder = Files.createTempDirectory("nightmill-sketch");
            folder.toFile().deleteOnExit();
            return copyAll(uri, folder, ModelFiles::copyHead);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * A hash of a model's files, wherever they are: the names in a folder, lengths and content; of files above 64 MiB, blocks
     * all over them, since other weights differ nearly everywhere.
     */
    public static String contentHash(String uri) {
        org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(
                isLocal(uri) ? localPath(uri).toUri().toString() : uri);
        try {
            FileSystem files = path.getFileSystem(Tables.hadoop());
            boolean isFolder = files.getFileStatus(path).isDirectory();
            List<FileStatus> all =
                    new ArrayList<>(isFolder ? Arrays.asList(files.listStatus(path)) : splits(files, path));
            all.removeIf(FileStatus::isDirectory);
            all.sort(Comparator.comparing(status -> status.getPath().getName()));
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] block = new byte[BLOCK_BYTES];
            for (FileStatus status : all) {
                String name = isFolder ? status.getPath().getName() : "";
                digest.update((name + ":" + status.getLen() + ";").getBytes(StandardCharsets.UTF_8));
                long blocks = (status.getLen() + BLOCK_BYTES - 1) / BLOCK_BYTES;
                long stride = status.getLen() <= HEAD_BYTES ? 1 : Math.max(1, blocks / SAMPLES);
                try (FSDataInputStream in = files.open(status.getPath())) {
                    for (long i = 0; i < blocks; i += stride) {
                        int count = (int) Math.min(BLOCK_BYTES, status.getLen() - i * BLOCK_BYTES);
                        in.readFully(i * BLOCK_BYTES, block, 0, count);
                        digest.update(block, 0, count);
                    }
                }
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read model " + uri, e);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static boolean isLocal(String uri) {
        String scheme = new org.apache.hadoop.fs.Path(uri).toUri().getScheme();
        return scheme == null || scheme.equals("file");
    }

    private static Path localPath(String uri) {
        return Path.of(new org.apache.hadoop.fs.Path(uri).toUri().getPath());
    }

    private static Path copyAll(String uri, Path folder, Copy copy) {
        org.apache.hadoop.fs.Path remote = new org.apache.hadoop.fs.Path(uri);
        try {
            FileSystem files = remote.getFileSystem(Tables.hadoop());
            if (!files.exists(remote)) {
                throw new IllegalArgumentException(
                        "Cannot open model %s: there is no such file or folder".formatted(uri));
            }
            Files.createDirectories(folder);
            boolean isFolder = files.getFileStatus(remote).isDirectory();
            for (FileStatus status : isFolder ? Arrays.asList(files.listStatus(remote)) : splits(files, remote)) {
                if (status.isFile()) {
                    copy.to(files, status, folder.resolve(status.getPath().getName()));
                }
            }
            return isFolder ? folder : folder.resolve(remote.getName());
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot read model " + uri, e);
        }
    }

    /** A file, and the other splits of its model. */
    private static List<FileStatus> splits(FileSystem files, org.apache.hadoop.fs.Path file) throws IOException {
        Matcher split = SPLIT.matcher(file.getName());
        if (!split.matches()) {
            return List.of(files.getFileStatus(file));
        }
        return Arrays.stream(files.listStatus(file.getParent()))
                .filter(status -> {
                    Matcher other = SPLIT.matcher(status.getPath().getName());
                    return other.matches() && other.group(1).equals(split.group(1));
                })
                .toList();
    }

    /** A file is complete or not there: another task of this JVM may look for it. */
    private static void copy(FileSystem files, FileStatus status, Path target) throws IOException {
        if (!Files.exists(target) || Files.size(target) != status.getLen()) {
            Path partial = Files.createTempFile(target.getParent(), "copy", ".part");
            try (InputStream in = files.open(status.getPath())) {
                Files.copy(in, partial, StandardCopyOption.REPLACE_EXISTING);
            }
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    private static void copyHead(FileSystem files, FileStatus status, Path target) throws IOException {
        target.toFile().deleteOnExit();
        boolean weights =
                target.toString().endsWith(".safetensors") || target.toString().endsWith(".gguf");
        try (InputStream in = files.open(status.getPath());
                RandomAccessFile out = new RandomAccessFile(target.toFile(), "rw")) {
            out.write(in.readNBytes((int) Math.min(status.getLen(), weights ? HEAD_BYTES : Integer.MAX_VALUE)));
            out.setLength(status.getLen());
        }
    }
}
