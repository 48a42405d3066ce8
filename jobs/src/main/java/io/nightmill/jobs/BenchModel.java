package io.nightmill.jobs;

import io.nightmill.kernels.Backend;
import io.nightmill.layers.Decoder;
import io.nightmill.models.Model;
import io.nightmill.models.ModelLoader;
import io.nightmill.weights.Precision;
import java.nio.file.Path;

/** Something that can be measured: a model of the user's, or a configuration on random weights. */
interface BenchModel {
    String name();

    Built build(Backend backend);

    /**
     * @param parameters of the whole model
     * @param activeParameters that one token meets
     * @param idleShare of the experts' values that a token does not meet; 0 is a dense model
     * @param expertValues of all experts
     */
    record Built(Decoder decoder, long parameters, double idleShare, long expertValues) {
        static Built of(Decoder decoder, long parameters) {
            long idle = decoder.idleValues();
            long experts = decoder.expertValues();
            return new Built(decoder, parameters, experts == 0 ? 0 : (double) idle / experts, experts);
        }

        /** Values that one token meets. */
        long activeParameters() {
            return parameters - Math.round(idleShare * expertValues);
        }

        /** Bytes of weights that a step of so many tokens is expected to read, in the form in which products read them. */
        double bytesRead(int tokens, Precision precision) {
            double values = parameters - expertValues * Math.pow(idleShare, tokens);
            return values
                    * switch (precision) {
                        case INT8 -> 1;
                            // Four bits, and eight that 32 of them share.
                        case INT4 -> 4.25 / 8;
                        default -> 2;
                    };
        }
    }

    /** A folder or a GGUF file. */
    record Stored(Path path) implements BenchModel {
        @Override
        public String name() {
            return path.getFileName().toString();
        }

        @Override
        public Built build(Backend backend) {
            Model model = ModelLoader.load(path, backend);
            return Built.of(model.decoder(), model.parameters());
        }
    }
}
