package io.nightmill.kernels;

/** Small symmetric positive definite systems. */
final class Cholesky {
    private Cholesky() {}

    /**
     * Solves {@code A x = b} in place.
     *
     * @param a {@code [n, n]}, of which the lower triangle is read; it becomes its factor L with {@code A = L L^T}
     * @param b becomes x
     */
    static void solve(double[] a, double[] b) {
        int n = b.length;
        for (int k = 0; k < n; k++) {
            for (int j = 0; j <= k; j++) {
                double sum = a[k * n + j];
                for (int i = 0; i < j; i++) {
                    sum -= a[k * n + i] * a[j * n + i];
                }
                a[k * n + j] = j == k ? Math.sqrt(sum) : sum / a[j * n + j];
            }
        }
        for (int k = 0; k < n; k++) {
            for (int j = 0; j < k; j++) {
                b[k] -= a[k * n + j] * b[j];
            }
            b[k] /= a[k * n + k];
        }
        for (int k = n - 1; k >= 0; k--) {
            b[k] /= a[k * n + k];
            for (int j = 0; j < k; j++) {
                b[j] -= a[k * n + j] * b[k];
            }
        }
    }
}
