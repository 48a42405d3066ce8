package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** What users are told about families is so. */
class FamiliesTest {
    @Test
    void whatIsCalledProvenHasFixturesOfAReferenceAndNothingElseHas() {
        Set<String> tested = Golden.all()
                .map(folder -> Golden.modelType(folder.resolve("config.json")))
                .collect(Collectors.toCollection(TreeSet::new));
        Set<String> proven = Families.listings().stream()
                .filter(Families.Listing::isProven)
                .map(Families.Listing::modelType)
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(proven).isEqualTo(tested);
    }

    @Test
    void documentationListsEveryFamily() throws IOException {
        String page = Files.readString(Path.of("../docs/MODELS.md"));
        for (Families.Listing model : Families.listings()) {
            assertThat(page).contains(model.toMarkdown());
        }
    }
}
