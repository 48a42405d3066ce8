package io.nightmill.kernels.gpu;

import com.aparapi.Kernel;

/**
 * A family of kernels in the part of Java that Aparapi translates to OpenCL C: each public method without arguments is an entry,
 * and the fields that it reads are its parameters. There is no {@code switch}, {@code break} or early return; arrays begin at the
 * tensor's first value, wherever that lies in device memory. A branch that an {@code else} follows must not end in an {@code if}.
 *
 * <p>Work-groups are {@value #GROUP} wide unless an entry says more. Sums have one order, which depends on the shape of a row only.
 */
abstract class DeviceKernel extends Kernel {
    static final int GROUP = 64;

    /** Entries are methods of their own. */
    @Override
    public void run() {}

    /** The float of these bits. The body is what the JVM runs: exact, by doubling and halving. */
    @OpenCLMapping(mapTo = "as_float")
    protected float asFloat(int bits) {
        int exponent = bits >> 23 & 255;
        int mantissa = bits & 0x7fffff;
        float value = exponent == 0 ? mantissa : mantissa | 0x800000;
        int doublings = exponent == 0 ? -149 : exponent - 150;
        if (exponent == 255) {
            value = mantissa == 0 ? 1 : 0;
            value = value / 0;
        } else {
            for (int i = 0; i < doublings; i++) {
                value = value * 2;
            }
            for (int i = doublings; i < 0; i++) {
                value = value * 0.5f;
            }
        }
        return bits < 0 ? -value : value;
    }

    /** The bits of a float that is a number; zero has no sign on the JVM. */
    @OpenCLMapping(mapTo = "as_int")
    protected int asInt(float value) {
        float rest = value < 0 ? -value : value;
        int exponent = rest == 0 ? 0 : 127;
        while (rest >= 2 && exponent < 255) {
            rest = rest * 0.5f;
            exponent++;
        }
        while (rest < 1 && exponent > 1) {
            rest = rest * 2;
            exponent--;
        }
        int mantissa = (int) (rest * 8388608f);
        int bits = mantissa < 0x800000 ? mantissa : exponent << 23 | mantissa & 0x7fffff;
        return value < 0 ? bits | 0x80000000 : bits;
    }

    protected float half(int bits) {
        // The exponent's bias is 112 less: halves without a leading one come out right too.
        float value = asFloat((bits & 0x7fff) << 13) * 5.192297E33f;
        return (bits & 0x8000) != 0 ? -value : value;
    }

    protected float bf16(int bits) {
        return asFloat(bits << 16);
    }

    /** The upper half of a float's bits, rounded to nearest, ties to even. */
    protected int toBf16(float value) {
        int bits = asInt(value);
        return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
    }

    protected float sigmoid(float x) {
        return 1 / (1 + exp(-x));
    }
}
