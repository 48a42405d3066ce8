package io.nightmill.pipeline;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A run that dies while it takes files out of a table, at any step, is finished by the next. */
class FileSwapTest {
    @TempDir
    Path table;

    private Path write(String name, String text) throws IOException {
        Path file = table.resolve(name);
        Files.createDirectories(file.getParent());
        return Files.writeString(file, text);
    }

    private void finish() {
        new FileSwap(table.toString()).finish();
    }

    @Test
    void swapWithoutJournalNeverWas() throws IOException {
        Path old = write("part-0", "old");
        write("_nightmill/swap/part-1", "half of the new");
        finish();
        assertThat(old).hasContent("old");
        assertThat(table.resolve("part-1")).doesNotExist();
        assertThat(table.resolve("_nightmill/swap")).doesNotExist();
    }

    @Test
    void journalIsCarriedOut() throws IOException {
        Path old = write("part-0", "old");
        write("_nightmill/swap/part-1", "new");
        new FileSwap(table.toString()).commit(List.of(old.toUri().toString()));
        assertThat(old).doesNotExist();
        assertThat(table.resolve("part-1")).hasContent("new");
        assertThat(table.resolve("_nightmill/swap.json")).doesNotExist();
    }

    /** As an object store leaves it, where renaming copies and then deletes. */
    @Test
    void halfCopiedFileIsCopiedAgain() throws IOException {
        Path old = write("part-0", "old");
        write("_nightmill/swap/part-1", "all of the new");
        write("_nightmill/swap.json", "{\"remove\":[\"%s\"]}".formatted(old.toUri()));
        write("part-1", "all of");
        finish();
        assertThat(old).doesNotExist();
        assertThat(table.resolve("part-1")).hasContent("all of the new");
        // And what was done is not done again.
        finish();
        assertThat(table.resolve("part-1")).hasContent("all of the new");
    }
}
