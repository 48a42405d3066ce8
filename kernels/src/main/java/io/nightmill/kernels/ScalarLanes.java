package io.nightmill.kernels;

import java.util.Arrays;

/** Plain loops, one accumulator per output value. */
final class ScalarLanes implements Lanes {
    @Override
    public String name() {
        return "scalar";
    }

    @Override
    public int width() {
        return 1;
    }

    @Override
    public void dots(
            float[] x, int xo, int xs, int m, float[] w, int wo, int ws, int n, int k, float[] out, int oo, int os) {
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                float sum = 0;
                int xi = xo + i * xs;
                int wj = wo + j * ws;
                for (int d = 0; d < k; d++) {
                    sum += x[xi + d] * w[wj + d];
                }
                out[oo + i * os + j] = sum;
            }
        }
    }

    @Override
    public void blockDots(float[] x, int xo, int xs, int m, float[][] w, int[] at, int k, float[] out, int oo, int os) {
        for (int i = 0; i < m; i++) {
            Arrays.fill(out, oo + i * os, oo + i * os + 64, 0);
            for (int column = 0; column < 64; column += 16) {
                float[] block = w[column / 16];
                for (int d = 0; d < k; d++) {
                    float factor = x[xo + i * xs + d];
                    int row = at[column / 16] + 16 * d;
                    for (int j = 0; j < 16; j++) {
                        out[oo + i * os + column + j] += factor * block[row + j];
                    }
                }
            }
        }
    }

    @Override
    public void weighted(
            float[] p,
            int po,
            int ps,
            int m,
            float[] v,
            int vo,
            int vs,
            int n,
            int width,
            float[] out,
            int oo,
            int os) {
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                float weight = p[po + i * ps + j];
                for (int d = 0; d < width; d++) {
                    out[oo + i * os + d] += weight * v[vo + j * vs + d];
                }
            }
        }
    }

    @Override
    public float multiplyAdds(int rounds) {
        float[] sums = new float[8];
        for (int i = 0; i < rounds; i++) {
            for (int j = 0; j < 8; j++) {
                sums[j] = sums[j] * 0.999f + 0.999f;
            }
        }
        return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
    }

    @Override
    public float sumOfSquares(float[] x, int xo, int n) {
        float sum = 0;
        for (int i = 0; i < n; i++) {
            sum += x[xo + i] * x[xo + i];
        }
        return sum;
    }

    @Override
    public float expSum(float[] s, int so, int n, float max) {
        float sum = 0;
        for (int i = 0; i < n; i++) {
            s[so + i] = exp(s[so + i] - max);
            sum += s[so + i];
        }
        return sum;
    }

    @Override
    public void activate(Activation activation, float[] x, int xo, float[] out, int oo, int n) {
        for (int i = 0; i < n; i++) {
            out[oo + i] = apply(activation, x[xo + i]);
        }
    }

    static float exp(float x) {
        return (float) Math.exp(x);
    }

    static float sigmoid(float x) {
        return 1 / (1 + exp(-x));
    }

    static float apply(Activation activation, float x) {
        return switch (activation) {
            case SILU -> x * sigmoid(x);
            case SIGMOID -> sigmoid(x);
            case RELU -> Math.max(0, x);
            case RELU2 -> Math.max(0, x) * Math.max(0, x);
            case SOFTPLUS -> (float) (Math.max(0, x) + Math.log1p(Math.exp(-Math.abs(x))));
            case LOG_SIGMOID -> (float) (Math.min(0, x) - Math.log1p(Math.exp(-Math.abs(x))));
            case EXP -> exp(x);
            case ONE_MINUS -> 1 - x;
            case NORMALIZER -> 1 / Math.max(Math.abs(x), 1);
            case COMPLEMENT -> (float) Math.sqrt(Math.max(0, 1 - (double) x * x));
            case TANH -> (float) Math.tanh(x);
            case GELU_TANH -> {
                double inner = 0.7978845608028654 * (x + 0.044715 * x * x * x);
                yield (float) (0.5 * x * (1 + Math.tanh(inner)));
            }
            case GELU -> (float) (0.5 * x * (1 + erf(x * 0.7071067811865476)));
        };
    }

    /** The error function by its series and continued fraction (Abramowitz and Stegun 7.1.5 and 7.1.14), to 1e-15. */
    private static double erf(double x) {
        double a = Math.abs(x);
        if (a > 6) {
            return Math.signum(x);
        }
        double value;
        if (a < 2.5) {
            double term = a;
            double sum = a;
            for (int n = 1; Math.abs(term) > 1e-17 * sum; n++) {
                term *= -a * a / n;
                sum += term / (2 * n + 1);
            }
            value = 2 / Math.sqrt(Math.PI) * sum;
        } else {
            double fraction = 0;
            for (int n = 60; n > 0; n--) {
                fraction = n / 2.0 / (a + fraction);
            }
            value = 1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction);
        }
        return Math.copySign(value, x);
    }
}
