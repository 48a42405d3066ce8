package io.nightmill.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nightmill.kernels.HostBackend;
import io.nightmill.mixers.ShortConv;
import io.nightmill.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

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

    @ParameterizedTest
    @CsvSource({
        "gemma3_text, use_bidirectional_attention, true, 'Cannot build %s: use_bidirectional_attention is true, expected a decoder'",
        "kimi_linear, moe_router_activation_func, '\"gelu\"', "
                + "'Cannot build %s: moe_router_activation_func is ''gelu'', expected sigmoid or softmax'",
        "deepseek_v3, topk_group, 1, Cannot route to 3 of 8 experts in 1 of 4 groups",
    })
    void whatNoFamilyComputesIsRefused(String family, String key, String value, String message, @TempDir Path temp)
            throws IOException {
        ObjectMapper mapper = new ObjectMapper();
        Path config = Golden.root().resolve(family).resolve("config.json");
        ObjectNode changed = (ObjectNode) mapper.readTree(config.toFile());
        changed.set(key, mapper.readTree(value));
        mapper.writeValue(temp.resolve("config.json").toFile(), changed);
        Golden.linkWeights(config.getParent(), temp);

        assertThatThrownBy(() -> ModelLoader.load(temp, new HostBackend(1)))
                .hasMessage(message.formatted(temp.resolve("config.json")));
    }

    @Test
    void aConvolutionOfOneTokenIsRefused() {
        try (HostBackend backend = new HostBackend(1)) {
            Tensor weight = new Tensor(backend.allocate(2), 0, 2, 1);
            assertThatThrownBy(() -> new ShortConv(weight, null, null))
                    .hasMessage("Cannot build a convolution with a kernel of 1, expected 2 or more");
        }
    }

    @Test
    void documentationListsEveryFamily() throws IOException {
        String page = Files.readString(Path.of("../docs/MODELS.md"));
        for (Families.Listing model : Families.listings()) {
            assertThat(page).contains(model.toMarkdown());
        }
    }
}
