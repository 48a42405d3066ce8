package io.nightmill.pipeline;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Takes files out of a table and puts others in, such that a run that dies meanwhile can be finished by the next: the new files
 * lie in {@code _nightmill/swap} and a journal beside them names the old ones before anything is touched. A reader in between
 * finds rows missing, never a row twice.
 */
final class FileSwap {
    private final Path output;
    private final Path journal;
    private final FileSystem files;

    FileSwap(String output) {
        this.output = new Path(output);
        this.journal = new Path(this.output, "_nightmill/swap.json");
        try {
            this.files = this.output.getFileSystem(Tables.hadoop());
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot look at " + output, e);
        }
    }

    /** Where the new files are to be written. */
    Path folder() {
        return new Path(output, "_nightmill/swap");
    }

    /** @param old URIs of files of the table */
    void commit(List<String> old) {
        ObjectNode json = new ObjectMapper().createObjectNode();
        old.forEach(json.putArray("remove")::add);
        try {
            try (OutputStream out = files.create(journal.suffix(".partial"), true)) {
                out.write(json.toString().getBytes(StandardCharsets.UTF_8));
            }
            files.rename(journal.suffix(".partial"), journal);
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot write " + journal, e);
        }
        finish();
    }

    /**
     * Ends a swap that was begun, if any; new files without a journal are those of a swap that was not. What tasks of a dead run
     * have left for its commit goes too, or the next commit would take it in.
     */
    void finish() {
        try {
            files.delete(new Path(output, "_temporary"), true);
            if (files.exists(journal)) {
                JsonNode json;
                try (InputStream in = files.open(journal)) {
                    json = new ObjectMapper().readTree(in);
                }
                for (JsonNode old : json.path("remove")) {
                    files.delete(new Path(URI.create(old.asText())), false);
                }
                for (FileStatus fresh : files.exists(folder()) ? files.listStatus(folder()) : new FileStatus[0]) {
                    String name = fresh.getPath().getName();
                    if (fresh.isFile() && !name.startsWith("_") && !name.startsWith(".")) {
                        Path to = new Path(output, name);
                        // Where renaming is copying, a run that died meanwhile has left a part.
                        files.delete(to, false);
                        if (!files.rename(fresh.getPath(), to)) {
                            throw new IOException("Cannot move " + fresh.getPath() + " to " + to);
                        }
                    }
                }
                files.delete(journal, false);
            }
            files.delete(folder(), true);
        } catch (IOException e) {
            throw new UncheckedIOException("Cannot exchange files of " + output, e);
        }
    }
}
