package io.nightmill.kernels;

import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LT;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Pointwise functions in vectors. Exponentials are one loop over an array, and what surrounds them are others: C2 boxes the vectors of
 * a helper as large as an exponential, which it does not inline. The transcendental operators of the Vector API are not used, as
 * interpreter and compiler may differ in them.
 */
final class VectorFunctions {
    private static final VectorSpecies<Float> F = Species.FLOATS;
    private static final int L = F.length();
    /** Values that stay in the nearest cache from one loop to the next. */
    private static final int CHUNK = 1024;

    private static final ThreadLocal<float[]> SCRATCH = ThreadLocal.withInitial(() -> new float[CHUNK]);
    /** Where {@link #exp} leaves its sums. */
    static final ThreadLocal<float[]> SUMS = ThreadLocal.withInitial(() -> new float[L]);

    private VectorFunctions() {}

    /**
     * {@code s = exp(s - minus)} in place, to about 1 ulp up to {@code exp(88)}; underflow gives 0. Adds each lane's values to
     * {@code sums[lane]}.
     *
     * <p>2 to the rounded power, times a polynomial of the rest (the coefficients are those of Cephes' expf).
     *
     * @param n whole vectors
     */
    static void exp(float[] s, int so, int n, float minus, float[] sums) {
        FloatVector sum = FloatVector.zero(F);
        for (int i = 0; i < n; i += L) {
            FloatVector x = FloatVector.fromArray(F, s, so + i).sub(minus);
            FloatVector clamped = x.max(-87.3f).min(88.3f);
            FloatVector shifted =
                    clamped.fma(FloatVector.broadcast(F, 1.44269504f), FloatVector.broadcast(F, 12582912f));
            IntVector power = shifted.reinterpretAsInts().lanewise(LSHL, 23);
            FloatVector k = shifted.sub(12582912f);
            FloatVector r = k.fma(FloatVector.broadcast(F, -0.693359375f), clamped);
            r = k.fma(FloatVector.broadcast(F, 2.12194440e-4f), r);
            FloatVector p = FloatVector.broadcast(F, 1.9875691500e-4f);
            p = p.fma(r, FloatVector.broadcast(F, 1.3981999507e-3f));
            p = p.fma(r, FloatVector.broadcast(F, 8.3334519073e-3f));
            p = p.fma(r, FloatVector.broadcast(F, 4.1665795894e-2f));
            p = p.fma(r, FloatVector.broadcast(F, 1.6666665459e-1f));
            p = p.fma(r, FloatVector.broadcast(F, 5.0000001201e-1f));
            p = p.fma(r.mul(r), r).add(1f);
            FloatVector e = p.reinterpretAsInts().add(power).reinterpretAsFloats();
            e = e.blend(0f, x.compare(LT, -87.3f));
            e.intoArray(s, so + i);
            sum = sum.add(e);
        }
        sum.intoArray(sums, 0);
    }

    /** Of a rest that is no whole vector, values are computed one by one. */
    static void activate(Activation activation, float[] x, int xo, float[] out, int oo, int n) {
        float[] t = SCRATCH.get();
        float[] sums = SUMS.get();
        int whole = n - n % L;
        for (int from = 0; from < whole; from += CHUNK) {
            int size = Math.min(CHUNK, whole - from);
            int at = xo + from;
            int to = oo + from;
            switch (activation) {
                case SILU -> {
                    for (int i = 0; i < size; i += L) {
                        FloatVector.fromArray(F, x, at + i).neg().intoArray(t, i);
                    }
                    exp(t, 0, size, 0, sums);
                    overOnePlus(x, at, t, out, to, size);
                }
                case GELU_TANH -> {
                    // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u))
                    for (int i = 0; i < size; i += L) {
                        FloatVector v = FloatVector.fromArray(F, x, at + i);
                        v.mul(v)
                                .mul(v)
                                .mul(0.044715f)
                                .add(v)
                                .mul(-1.5957691216057308f)
                                .intoArray(t, i);
                    }
                    exp(t, 0, size, 0, sums);
                    overOnePlus(x, at, t, out, to, size);
                }
                case GELU -> gelu(x, at, t, sums, out, to, size);
                case SIGMOID -> {
                    for (int i = 0; i < size; i += L) {
                        FloatVector.fromArray(F, x, at + i).neg().intoArray(t, i);
                    }
                    exp(t, 0, size, 0, sums);
                    for (int i = 0; i < size; i += L) {
                        FloatVector one = FloatVector.broadcast(F, 1f);
                        one.div(FloatVector.fromArray(F, t, i).add(1f)).intoArray(out, to + i);
                    }
                }
                case EXP -> {
                    System.arraycopy(x, at, out, to, size);
                    exp(out, to, size, 0, sums);
                }
                case TANH -> tanh(x, at, t, sums, out, to, size);
                case SOFTPLUS -> logOnePlusExp(x, at, 1, t, sums, out, to, size);
                case LOG_SIGMOID -> logOnePlusExp(x, at, -1, t, sums, out, to, size);
                default -> simple(activation, x, at, out, to, size);
            }
        }
        for (int i = whole; i < n; i++) {
            out[oo + i] = ScalarLanes.apply(activation, x[xo + i]);
        }
    }

    /** {@code x / (1 + t)}. */
    private static void overOnePlus(float[] x, int xo, float[] t, float[] out, int oo, int n) {
        for (int i = 0; i < n; i += L) {
            FloatVector.fromArray(F, x, xo + i)
                    .div(FloatVector.fromArray(F, t, i).add(1f))
                    .intoArray(out, oo + i);
        }
    }

    /**
     * {@code x / 2 erfc(z)} below 0 and {@code x - x / 2 erfc(z)} above, with {@code z = |x| / sqrt(2)} and erfc by Chebyshev fitting to a
     * relative 1.2e-7 (Numerical Recipes, 6.2): {@code u exp(-z^2 + p(u))} of {@code u = 1 / (1 + z / 2)}.
     */
    private static void gelu(float[] x, int xo, float[] t, float[] sums, float[] out, int oo, int n) {
        FloatVector one = FloatVector.broadcast(F, 1f);
        for (int i = 0; i < n; i += L) {
            FloatVector z = FloatVector.fromArray(F, x, xo + i).abs().mul(0.70710678f);
            FloatVector u = one.div(z.mul(0.5f).add(1f));
            FloatVector p = FloatVector.broadcast(F, 0.17087277f);
            p = p.fma(u, FloatVector.broadcast(F, -0.82215223f));
            p = p.fma(u, FloatVector.broadcast(F, 1.48851587f));
            p = p.fma(u, FloatVector.broadcast(F, -1.13520398f));
            p = p.fma(u, FloatVector.broadcast(F, 0.27886807f));
            p = p.fma(u, FloatVector.broadcast(F, -0.18628806f));
            p = p.fma(u, FloatVector.broadcast(F, 0.09678418f));
            p = p.fma(u, FloatVector.broadcast(F, 0.37409196f));
            p = p.fma(u, FloatVector.broadcast(F, 1.00002368f));
            p = p.fma(u, FloatVector.broadcast(F, -1.26551223f));
            z.neg().fma(z, p).intoArray(t, i);
        }
        exp(t, 0, n, 0, sums);
        for (int i = 0; i < n; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, xo + i);
            FloatVector u = one.div(v.abs().mul(0.35355339f).add(1f));
            FloatVector tail = u.mul(FloatVector.fromArray(F, t, i)).mul(v).mul(0.5f);
            tail.blend(v.sub(tail), v.compare(GE, 0f)).intoArray(out, oo + i);
        }
    }

    /** Near 0 the odd polynomial of Cephes' tanhf, else {@code 1 - 2 / (exp(2 |x|) + 1)} with the sign of x. */
    private static void tanh(float[] x, int xo, float[] t, float[] sums, float[] out, int oo, int n) {
        for (int i = 0; i < n; i += L) {
            FloatVector.fromArray(F, x, xo + i).abs().mul(2f).intoArray(t, i);
        }
        exp(t, 0, n, 0, sums);
        for (int i = 0; i < n; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, xo + i);
            FloatVector two = FloatVector.broadcast(F, -2f);
            FloatVector far = two.div(FloatVector.fromArray(F, t, i).add(1f)).add(1f);
            FloatVector square = v.mul(v);
            FloatVector p = FloatVector.broadcast(F, -5.70498872745e-3f);
            p = p.fma(square, FloatVector.broadcast(F, 2.06390887954e-2f));
            p = p.fma(square, FloatVector.broadcast(F, -5.37397155531e-2f));
            p = p.fma(square, FloatVector.broadcast(F, 1.33314422036e-1f));
            p = p.fma(square, FloatVector.broadcast(F, -3.33332819422e-1f));
            FloatVector near = p.mul(square).fma(v, v);
            near.blend(far, v.compare(GE, 0.625f))
                    .blend(far.neg(), v.compare(LT, -0.625f))
                    .intoArray(out, oo + i);
        }
    }

    /**
     * {@code sign log(1 + exp(sign x)) = sign (max(sign x, 0) + log(1 + t))} with {@code t = exp(-|x|)}, and {@code log(1 + t)} is
     * {@code 2 artanh(t / (2 + t))}, whose argument is at most a third.
     */
    private static void logOnePlusExp(
            float[] x, int xo, float sign, float[] t, float[] sums, float[] out, int oo, int n) {
        for (int i = 0; i < n; i += L) {
            FloatVector.fromArray(F, x, xo + i).abs().neg().intoArray(t, i);
        }
        exp(t, 0, n, 0, sums);
        for (int i = 0; i < n; i += L) {
            FloatVector e = FloatVector.fromArray(F, t, i);
            FloatVector s = e.div(e.add(2f));
            FloatVector square = s.mul(s);
            FloatVector p = FloatVector.broadcast(F, 2f / 15);
            p = p.fma(square, FloatVector.broadcast(F, 2f / 13));
            p = p.fma(square, FloatVector.broadcast(F, 2f / 11));
            p = p.fma(square, FloatVector.broadcast(F, 2f / 9));
            p = p.fma(square, FloatVector.broadcast(F, 2f / 7));
            p = p.fma(square, FloatVector.broadcast(F, 2f / 5));
            p = p.fma(square, FloatVector.broadcast(F, 2f / 3));
            p = p.fma(square, FloatVector.broadcast(F, 2f));
            FloatVector.fromArray(F, x, xo + i)
                    .mul(sign)
                    .max(0f)
                    .add(p.mul(s))
                    .mul(sign)
                    .intoArray(out, oo + i);
        }
    }

    /** Functions of an operation or two. */
    private static void simple(Activation activation, float[] x, int xo, float[] out, int oo, int n) {
        FloatVector one = FloatVector.broadcast(F, 1f);
        for (int i = 0; i < n; i += L) {
            FloatVector v = FloatVector.fromArray(F, x, xo + i);
            switch (activation) {
                case RELU -> v.max(0f).intoArray(out, oo + i);
                case RELU2 -> v.max(0f).mul(v.max(0f)).intoArray(out, oo + i);
                case ONE_MINUS -> one.sub(v).intoArray(out, oo + i);
                case NORMALIZER -> one.div(v.abs().max(1f)).intoArray(out, oo + i);
                case COMPLEMENT -> one.sub(v).mul(one.add(v)).max(0f).sqrt().intoArray(out, oo + i);
                default -> throw new IllegalStateException(activation + " has no vector form");
            }
        }
    }

    /** {@link Lanes#selectiveStep} over whole vectors. */
    static void selectiveStep(
            float[] h,
            int ho,
            float[] dt,
            int to,
            float[] a,
            int ao,
            float write,
            float[] x,
            int xo,
            float read,
            float[] out,
            int oo,
            int n) {
        float[] decay = SCRATCH.get();
        float[] sums = SUMS.get();
        for (int from = 0; from < n; from += CHUNK) {
            int size = Math.min(CHUNK, n - from);
            for (int i = 0; i < size; i += L) {
                FloatVector.fromArray(F, dt, to + from + i)
                        .mul(FloatVector.fromArray(F, a, ao + from + i))
                        .intoArray(decay, i);
            }
            exp(decay, 0, size, 0, sums);
            FloatVector w = FloatVector.broadcast(F, write);
            FloatVector r = FloatVector.broadcast(F, read);
            for (int i = 0; i < size; i += L) {
                int d = from + i;
                FloatVector kept = FloatVector.fromArray(F, h, ho + d).mul(FloatVector.fromArray(F, decay, i));
                FloatVector value = w.fma(FloatVector.fromArray(F, x, xo + d), kept);
                value.intoArray(h, ho + d);
                r.fma(value, FloatVector.fromArray(F, out, oo + d)).intoArray(out, oo + d);
            }
        }
    }
}
