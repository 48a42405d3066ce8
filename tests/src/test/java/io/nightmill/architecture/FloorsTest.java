package io.nightmill.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Who may import whom: the table of ARCHITECTURE.md. */
class FloorsTest {
    private static final JavaClasses ALL = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages("io.nightmill");

    private static final Map<String, List<String>> MAY_IMPORT = Map.ofEntries(
            Map.entry("tensor", List.of()),
            Map.entry("kernels", List.of("tensor")),
            Map.entry("weights", List.of("tensor", "kernels")),
            Map.entry("layers", List.of("tensor", "kernels", "weights")),
            Map.entry("mixers", List.of("tensor", "kernels", "weights", "layers")),
            Map.entry("text", List.of()),
            Map.entry("models", List.of("tensor", "kernels", "weights", "layers", "mixers", "text")),
            Map.entry("engine", List.of("tensor", "kernels", "layers", "text")),
            Map.entry("runtime", List.of("engine", "models", "kernels", "weights", "tensor")),
            Map.entry("pipeline", List.of("runtime", "engine", "models", "layers", "weights", "text", "tensor")),
            Map.entry(
                    "jobs",
                    List.of("pipeline", "runtime", "engine", "models", "kernels", "weights", "layers", "tensor")),
            Map.entry("jobs.eval", List.of("pipeline", "runtime", "engine", "models", "weights", "text")));

    @Test
    void floorsImportDownwardsOnly() {
        MAY_IMPORT.forEach((name, below) -> {
            List<String> allowed = new ArrayList<>(List.of("io.nightmill." + name + ".."));
            below.forEach(other -> allowed.add("io.nightmill." + other + ".."));
            classes()
                    .that()
                    .resideInAPackage("io.nightmill." + name)
                    .should()
                    .onlyDependOnClassesThat(not(resideInAnyPackage("io.nightmill.."))
                            .or(resideInAnyPackage(allowed.toArray(new String[0]))))
                    .check(ALL);
        });
    }

    @Test
    void packagesHaveNoCycles() {
        slices().matching("io.nightmill.(*)..").should().beFreeOfCycles().check(ALL);
    }

    @Test
    void sparkArrowAndKryoStayUpstairs() {
        noClasses()
                .that()
                .resideOutsideOfPackages("io.nightmill.pipeline..", "io.nightmill.jobs..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(
                        "org.apache.spark..", "org.apache.arrow..", "com.esotericsoftware..", "org.apache.hadoop..")
                .check(ALL);
    }

    @Test
    void librariesStayInOnePlace() {
        noClasses()
                .that()
                .resideOutsideOfPackage("io.nightmill.text..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("ai.djl..", "org.graalvm..", "com.google.protobuf..")
                .check(ALL);
        noClasses()
                .that()
                .resideOutsideOfPackage("io.nightmill.kernels..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("jdk.incubator..", "org.bytedeco..")
                .check(ALL);
        noClasses()
                .that()
                .resideOutsideOfPackage("io.nightmill.kernels.gpu..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("com.aparapi..", "org.bytedeco.opencl..")
                .check(ALL);
    }
}
