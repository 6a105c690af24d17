/*
 * test_quant_loops.c - the loops of the quantisers that are written for speed, against their
 * definitions one number at a time: sums of integers, rounding, errors of outputs.
 */
#include <stdlib.h>

#include "../suites/models/int_sums.h"
#include "../suites/models/quant.h"
#include "test.h"

static unsigned state = 1;

static unsigned next(void)
{
    state = state * 1664525 + 1013904223; /* any generator will do */
    return state >> 8;
}

static float number(double spread)
{
    return (float)(spread * ((double)next() / (1 << 23) - 1));
}

/* One shape, all ways: rows of a further apart than needed, codes at both ends; what lies behind
 * the results stays as it is. */
static void try_sums(int m, int count, int k)
{
    const int pairs = (k + 1) / 2, lda = 2 * pairs + 3;
    short *a = malloc((size_t)(m * lda) * sizeof *a);
    short *code = malloc((size_t)(count * (k + 1)) * sizeof *code);
    short *packed = malloc((size_t)(pairs * 2 * SUMS_CHANNELS) * sizeof *packed);
    int *sum = malloc((size_t)((m + 1) * SUMS_CHANNELS) * sizeof *sum);
    for (int i = 0; i < m * lda; i++)
        a[i] = (short)(next() % 5 ? (int)(next() % 255) - 127 : 127);
    for (int i = 0; k % 2 && i < m; i++)
        a[i * lda + k] = 77; /* meets codes of 0 */
    for (int i = 0; i < count * (k + 1); i++)
        code[i] = (short)(next() % 5 ? (int)(next() % 256) - 128 : -128);
    memset(packed, 0x55, (size_t)(pairs * 2 * SUMS_CHANNELS) * sizeof *packed);
    int_sums_pack(code, (size_t)(k + 1), count, k, packed);
    int ways = 0;
    for (int_sums_way *way; (way = int_sums_at(ways)); ways++) {
        int wrong = 0;
        memset(sum, 0x5a, (size_t)((m + 1) * SUMS_CHANNELS) * sizeof *sum);
        way(a, (size_t)lda, m, pairs, packed, sum);
        for (int i = 0; i < m; i++)
            for (int c = 0; c < SUMS_CHANNELS; c++) {
                int want = 0;
                for (int p = 0; c < count && p < k; p++)
                    want += a[i * lda + p] * code[c * (k + 1) + p];
                wrong += sum[i * SUMS_CHANNELS + c] != want;
            }
        for (int c = 0; c < SUMS_CHANNELS; c++)
            wrong += sum[m * SUMS_CHANNELS + c] != 0x5a5a5a5a;
        CHECK(wrong == 0);
    }
    CHECK(ways >= 1 && int_sums_best() == int_sums_at(0));
    /* a planted fault: one code changed shows */
    packed[2 * (count - 1)] = (short)(packed[2 * (count - 1)] ^ 1);
    const int before = sum[count - 1];
    int_sums_best()(a, (size_t)lda, m, pairs, packed, sum);
    CHECK((sum[count - 1] != before) == (a[0] != 0));
    free(a), free(code), free(packed), free(sum);
}

static void test_sums(void)
{
    try_sums(1, 1, 1);
    try_sums(3, 32, 2);
    try_sums(4, 31, 7);
    try_sums(8, 32, 64);
    try_sums(13, 5, 129);
    try_sums(64, 32, 1408);
    try_sums(23, 17, 2101);
}

/* Ties, both signs, and what is far outside of a grid. */
static void test_nearest(void)
{
    int wrong = 0;
    for (int i = -4000; i <= 4000; i++) {
        const float x = (float)i / 8;
        wrong += (long)quant_nearest(x) != lrintf(x);
    }
    for (int i = 0; i < 100000; i++) {
        const float x = number(i % 2 ? 130 : 4e6);
        wrong += (long)quant_nearest(x) != lrintf(x);
    }
    CHECK(wrong == 0);
    CHECK(quant_nearest(1e30f) > 1e29f && quant_nearest(-1e30f) < -1e29f);
    float x[19];
    for (int n = 0; n < 19; n++) {
        x[n] = n == 11 ? -9.0f : number(1);
        if (n > 11)
            CHECK_NEAR(quant_top_abs(x, n), 9, 0);
        CHECK(quant_top_abs(x, n + 1) >= fabsf(x[n]));
    }
    CHECK(!(quant_top_abs(x, 0) > 0));
}

static void test_round(void)
{
    enum { K = 203 };
    static const enum quant_range ranges[] = { QUANT_MIN_MAX, QUANT_WITH_ZERO, QUANT_SYMMETRIC };
    float w[K], rounded[K];
    for (int bits = 2; bits <= 8; bits += 3)
        for (int r = 0; r < 3; r++)
            for (int far = 0; far < 3; far++) {
                const struct quant_grid g = { bits, 64, ranges[r] };
                int wrong = 0;
                for (int p = 0; p < K; p++) /* far from zero, codes are clamped */
                    rounded[p] = w[p] = number(1) + (far == 1 ? 1000 : far ? -1e7f : 0);
                quant_round(&g, rounded, 1, K);
                for (int p = 0; p < K; p += 64) {
                    const int count = K - p < 64 ? K - p : 64;
                    const struct quant_step s = quant_fit(&g, w + p, count);
                    for (int i = p; i < p + count; i++)
                        wrong += fabsf(rounded[i] - quant_value(&s, w[i])) > 0;
                }
                CHECK(wrong == 0);
            }
}

static void test_energy(void)
{
    static const int widths[] = { 1, 2, 5, 64, 127, 128, 129, 300 };
    enum { N = 67 };
    for (size_t t = 0; t < sizeof widths / sizeof *widths; t++) {
        const int k = widths[t], rows = 50;
        float *x = malloc((size_t)(rows * k) * sizeof *x), *h = malloc((size_t)(k * k) * sizeof *h);
        float *e = malloc((size_t)(N * k) * sizeof *e);
        double per[N], sum = 0, all, alone, worst = 0;
        for (int i = 0; i < rows * k; i++)
            x[i] = number(1);
        for (int i = 0; i < N * k; i++)
            e[i] = number(0.1);
        CHECK(!quant_gram(x, rows, k, h) && !quant_energy(e, N, k, h, &all, per));
        CHECK(!quant_energy(e, N, k, h, &alone, NULL));
        for (int j = 0; j < N; j++) {
            double want = 0;
            for (int p = 0; p < k; p++)
                for (int q = 0; q < k; q++)
                    want += (double)e[j * k + p] * (double)h[p * k + q] * (double)e[j * k + q];
            worst = fmax(worst, fabs(per[j] - want) / (want + 1e-12));
            sum += per[j];
        }
        CHECK(worst < 1e-4);
        CHECK_NEAR(all / sum, 1, 1e-12);
        CHECK_NEAR(alone / sum, 1, 1e-12);
        free(x), free(h), free(e);
    }
}

int main(void)
{
    test_sums();
    test_nearest();
    test_round();
    test_energy();
    return TEST_END();
}
