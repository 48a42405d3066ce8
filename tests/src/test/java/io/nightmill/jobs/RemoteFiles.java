package io.nightmill.jobs;

import java.io.IOException;
import java.net.URI;
import java.util.Arrays;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;

/** A Hadoop file system of another scheme, {@code remote:}, over local files. */
public final class RemoteFiles extends FileSystem {
    private final RawLocalFileSystem local = new RawLocalFileSystem();

    @Override
    public void initialize(URI name, Configuration conf) throws IOException {
        super.initialize(name, conf);
        local.initialize(URI.create("file:///"), conf);
    }

    private static Path inner(Path path) {
        return new Path("file://" + path.toUri().getPath());
    }

    private static FileStatus outer(FileStatus status) {
        return new FileStatus(
                status.getLen(),
                status.isDirectory(),
                1,
                1 << 20,
                status.getModificationTime(),
                new Path("remote://" + status.getPath().toUri().getPath()));
    }

    @Override
    public URI getUri() {
        return URI.create("remote:///");
    }

    @Override
    public FSDataInputStream open(Path path, int bufferSize) throws IOException {
        return local.open(inner(path), bufferSize);
    }

    @Override
    public FSDataOutputStream create(
            Path path,
            FsPermission permission,
            boolean overwrite,
            int buffer,
            short replication,
            long block,
            Progressable progress)
            throws IOException {
        return local.create(inner(path), permission, overwrite, buffer, replication, block, progress);
    }

    @Override
    public FSDataOutputStream append(Path path, int bufferSize, Progressable progress) throws IOException {
        return local.append(inner(path), bufferSize, progress);
    }

    @Override
    public boolean rename(Path from, Path to) throws IOException {
        return local.rename(inner(from), inner(to));
    }

    @Override
    public boolean delete(Path path, boolean recursive) throws IOException {
        return local.delete(inner(path), recursive);
    }

    @Override
    public FileStatus[] listStatus(Path path) throws IOException {
        return Arrays.stream(local.listStatus(inner(path)))
                .map(RemoteFiles::outer)
                .toArray(FileStatus[]::new);
    }

    @Override
    public void setWorkingDirectory(Path path) {}

    @Override
    public Path getWorkingDirectory() {
        return new Path("remote:///");
    }

    @Override
    public boolean mkdirs(Path path, FsPermission permission) throws IOException {
        return local.mkdirs(inner(path), permission);
    }

    @Override
    public FileStatus getFileStatus(Path path) throws IOException {
        return outer(local.getFileStatus(inner(path)));
    }
}
