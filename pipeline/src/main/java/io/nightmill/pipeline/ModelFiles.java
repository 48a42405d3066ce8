package io.nightmill.pipeline;

import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HexFormat;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.spark.SparkEnv;
import org.apache.spark.deploy.SparkHadoopUtil;
import org.apache.spark.util.Utils;

/**
 * A model's files on this machine. Local ones are mapped where they are; others are copied once per executor JVM from
 * whatever file system Hadoop knows to Spark's local directory, and never pass through the driver.
 */
public final class ModelFiles {
    /** More than the header of any model seen so far. */
    private static final int HEAD_BYTES = 64 << 20;

    private ModelFiles() {}

    /**
     * @param uri a local path, or a URI of a folder or file on a Hadoop file system
     * @throws IllegalArgumentException if there is nothing there
     */
    public static Path localize(String uri) {
        org.apache.hadoop.fs.Path remote = new org.apache.hadoop.fs.Path(uri);
        String scheme = remote.toUri().getScheme();
        if (scheme == null || scheme.equals("file")) {
            return Path.of(remote.toUri().getPath());
        }
        Configuration conf =
                SparkHadoopUtil.get().newConfiguration(SparkEnv.get().conf());
        try {
            FileSystem files = remote.getFileSystem(conf);
            if (!files.exists(remote)) {
                throw new IllegalArgumentException(
                        "Cannot open model %s: there is no such file or folder".formatted(uri));
            }
            Path folder = Path.of(Utils.getLocalDir(SparkEnv.get().conf()))
                    .resolve("nightmill-" + HexFormat.of().toHexDigits(uri.hashCode()));
            Files.createDirectories(folder);
            if (files.getFileStatus(remote).isFile()) {
                return copy(files, files.getFileStatus(remote), folder);
            }
            for (FileStatus status : files.listStatus(remote)) {
                if (status.isFile()) {
                    copy(files, status, folder);
                }
            }
            return folder;
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot copy model " + uri, e);
        }
    }

    /**
     * What a model's shapes and text can be checked by, before anything is loaded: its files where they are local, else its
     * small files and the heads of its weights, in files that are as long as the originals and empty behind.
     */
    static Path sketch(String uri) {
        org.apache.hadoop.fs.Path remote = new org.apache.hadoop.fs.Path(uri);
        String scheme = remote.toUri().getScheme();
        if (scheme == null || scheme.equals("file")) {
            return Path.of(remote.toUri().getPath());
        }
        try {
            FileSystem files = remote.getFileSystem(Tables.hadoop());
            if (!files.exists(remote)) {
                throw new IllegalArgumentException(
                        "Cannot open model %s: there is no such file or folder".formatted(uri));
            }
            Path folder = Files.createTempDirectory("nightmill-sketch");
            boolean single = files.getFileStatus(remote).isFile();
            for (FileStatus status :
                    single ? new FileStatus[] {files.getFileStatus(remote)} : files.listStatus(remote)) {
                if (status.isFile()) {
                    copyHead(files, status, folder);
                }
            }
            return single ? folder.resolve(remote.getName()) : folder;
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot look at model " + uri, e);
        }
    }

    private static void copyHead(FileSystem files, FileStatus status, Path folder) throws IOException {
        Path target = folder.resolve(status.getPath().getName());
        target.toFile().deleteOnExit();
        folder.toFile().deleteOnExit();
        boolean weights =
                target.toString().endsWith(".safetensors") || target.toString().endsWith(".gguf");
        try (InputStream in = files.open(status.getPath());
                RandomAccessFile out = new RandomAccessFile(target.toFile(), "rw")) {
            out.write(in.readNBytes((int) Math.min(status.getLen(), weights ? HEAD_BYTES : Integer.MAX_VALUE)));
            out.setLength(status.getLen());
        }
    }

    /** A file is complete or not there: another task of this JVM may look for it. */
    private static Path copy(FileSystem files, FileStatus status, Path folder) throws IOException {
        Path target = folder.resolve(status.getPath().getName());
        if (!Files.exists(target) || Files.size(target) != status.getLen()) {
            Path partial = Files.createTempFile(folder, "copy", ".part");
            files.copyToLocalFile(false, status.getPath(), new org.apache.hadoop.fs.Path(partial.toString()), true);
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
        return target;
    }
}
