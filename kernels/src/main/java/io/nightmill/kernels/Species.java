package io.nightmill.kernels;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Vectors of the machine's width. Tests ask for others as well ({@code -Dnightmill.vectorBits=512}), so that every form of the kernels is
 * tested on every machine: Java computes vectors that the machine lacks without them, to the same bits.
 */
final class Species {
    static final VectorSpecies<Float> FLOATS = VectorSpecies.of(
            float.class,
            VectorShape.forBitSize(
                    Integer.getInteger("nightmill.vectorBits", FloatVector.SPECIES_PREFERRED.vectorBitSize())));
    static final VectorSpecies<Integer> INTS = FLOATS.withLanes(int.class);

    private Species() {}
}
