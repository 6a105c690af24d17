/* test_gemm_quantise.c - e4m3 over all halves, 4-bit codes against their definition, and what the
 * bound of gemm lets through: not a wrong code. */
#include <stdbool.h>
#include <stdlib.h>

#include "../kernels/gemm/bound.h"
#include "../kernels/gemm/quantise.h"
#include "test.h"

static uint64_t seed = 3;

/* About normal, deviation 1. */
static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (float)(exact_word(seed, 0) >> 8) * 0x1p-24f, seed++;
    return sum - 6;
}

/* ---- e4m3 ---- */

static double e4m3_value(unsigned code)
{
    const int exponent = (int)(code >> 3 & 15), fraction = (int)(code & 7);
    const double v = exponent ? ldexp(1 + fraction / 8.0, exponent - 7) : ldexp(fraction, -9);
    return code & 0x80 ? -v : v;
}

/* Nearest of all codes by search; of two equally near the even one. */
static unsigned e4m3_nearest(double x)
{
    unsigned best = 0;
    for (unsigned c = 0; c < 0x7f; c++) {
        const double d = fabs(fabs(x) - e4m3_value(c)), least = fabs(fabs(x) - e4m3_value(best));
        if (d < least || (d == least && c % 2 == 0))
            best = c;
    }
    return best | (signbit(x) ? 0x80 : 0);
}

static void test_e4m3(void)
{
    long wrong = 0;
    for (unsigned c = 0; c < 256; c++) {
        const float f = e4m3_to_float((unsigned char)c);
        if ((c & 0x7f) == 0x7f)
            wrong += !isnan(f) || (e4m3_from_float(f) & 0x7f) != 0x7f;
        else
            wrong += (double)f != e4m3_value(c) || e4m3_from_float(f) != c;
    }
    CHECK(wrong == 0);
    for (unsigned h = 0; h < 0x10000; h++) {
        const float f = half_to_float((half_bits)h);
        if (isnan(f))
            wrong += (e4m3_from_float(f) & 0x7f) != 0x7f;
        else
            wrong += e4m3_from_float(f) != e4m3_nearest((double)f);
    }
    CHECK(wrong == 0);
    for (unsigned c = 0; c < 0x7e; c++) { /* a hair beside the middle */
        const float a = e4m3_to_float((unsigned char)c), b = e4m3_to_float((unsigned char)(c + 1));
        const float middle = a + (b - a) / 2;
        wrong += e4m3_from_float(nextafterf(middle, 0)) != c;
        wrong += e4m3_from_float(nextafterf(middle, 1e9f)) != c + 1;
    }
    CHECK(wrong == 0);
    CHECK(e4m3_from_float(INFINITY) == 0x7e && e4m3_from_float(-1e30f) == 0xfe);
}

static void test_fp8_scale(void)
{
    half_bits x[1000], none[8] = { 0 };
    unsigned char code[1000];
    float scale;
    for (int i = 0; i < 1000; i++)
        x[i] = half_from_float(3 * normal());
    x[500] = half_from_float(-20);
    CHECK(gemm_quantise_fp8(x, 1000, 0, code, &scale) == OP_OK);
    CHECK(scale == 20.0f / 448 && code[500] == 0xfe);
    double worst = 0;
    for (int i = 0; i < 1000; i++) {
        const double v = half_to_float(x[i]), w = (double)scale * e4m3_to_float(code[i]);
        worst = fmax(worst, fabs(v - w) / fmax(fabs(v), 0x1p-6 * (double)scale));
    }
    CHECK(worst <= 1.0 / 16 + 1e-6);
    CHECK(gemm_quantise_fp8(none, 8, 0, code, &scale) == OP_OK && scale == 1 && !code[3]);
    CHECK(gemm_quantise_fp8(x, 1000, 1, code, &scale) == OP_OK && scale == 1);
}

/* ---- 4 bits ---- */

/* The definition, in double but for the scale. */
static void check_group(const half_bits *w, int count, int symmetric, const unsigned char *code,
                        half_bits scale, unsigned char zero)
{
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < count; i++) {
        low = fmin(low, half_to_float(w[i]));
        high = fmax(high, half_to_float(w[i]));
    }
    const double range = symmetric ? fmax(fabs(low), fabs(high)) / 7 : (high - low) / 15;
    const double s = half_to_float(scale);
    const double least = symmetric ? 1e-5 / 7 : 1e-5 / 15;
    CHECK(fabs(s - fmax(range, least)) <= 0x1p-11 * fmax(range, least) + 0x1p-25);
    if (symmetric)
        CHECK(zero == 8);
    else
        CHECK(zero == fmin(15, fmax(0, -rint(low / s))));
    long wrong = 0;
    double error = 0;
    for (int i = 0; i < count; i++) {
        const double v = half_to_float(w[i]);
        wrong += code[i] != fmin(15, fmax(0, rint((double)((float)v / (float)s)) + zero));
        error = fmax(error, fabs(v - s * (code[i] - zero)));
    }
    CHECK(wrong == 0);
    /* half a step; a whole one where the rounded zero or scale cuts an end off; all of it where
     * the range has no 0 in it */
    CHECK(error <= s * 1.02 || low > 0 || high < 0 || range < least);
}

static void test_w4(void)
{
    enum { N = 6, K = 96 };
    static const int groups[] = { 1, 3, 32, 48, 96 };
    half_bits w[N * K], scale[N * K];
    unsigned char code[N * K], zero[N * K];
    for (int kind = 0; kind < 6; kind++)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
            for (int symmetric = 0; symmetric < 2; symmetric++) {
                const struct gemm_problem p = { .m = 1, .n = N, .k = K, .group = groups[g] };
                for (int i = 0; i < N * K; i++) {
                    const float v = normal();
                    w[i] = half_from_float(kind == 0   ? v * 0.02f
                                           : kind == 1 ? v + 8 /* one side of 0 */
                                           : kind == 2 ? -fabsf(v)
                                           : kind == 3 ? 0
                                           : kind == 4 ? v * 1e-6f
                                                       : v * 8000);
                }
                CHECK(gemm_quantise_w4(&p, w, symmetric, code, scale, zero) == OP_OK);
                for (int i = 0; i < N * K / p.group; i++)
                    check_group(w + i * p.group, p.group, symmetric, code + i * p.group, scale[i],
                                zero[i]);
            }
    const struct gemm_problem uneven = { .m = 1, .n = N, .k = K, .group = 64 };
    CHECK(gemm_quantise_w4(&uneven, w, 0, code, scale, zero) == OP_EINVAL);
}

/* Weights that are codes already come back as they were, for every zero. */
static void test_fixed_points(void)
{
    const struct gemm_problem p = { .m = 1, .n = 1, .k = 16, .group = 16 };
    long wrong = 0;
    for (int z = 0; z < 16; z++) {
        half_bits w[16], scale;
        unsigned char code[16], zero;
        for (int i = 0; i < 16; i++)
            w[i] = half_from_float(0.03125f * (float)(i - z));
        gemm_quantise_w4(&p, w, 0, code, &scale, &zero);
        wrong += scale != half_from_float(0.03125f) || zero != z;
        for (int i = 0; i < 16; i++)
            wrong += code[i] != i;
    }
    CHECK(wrong == 0);
}

static void test_exact(void)
{
    enum { N = 64, K = 512, COUNT = N * K };
    const struct gemm_problem p = { .m = 1, .n = N, .k = K, .group = 128 };
    unsigned char *code = malloc(COUNT), *zero = malloc(COUNT / 128);
    half_bits *scale = malloc(COUNT / 128 * 2), *x = malloc(K * 2);
    int seen[16] = { 0 }, zeros[16] = { 0 }, scales[2] = { 0 }, xs[3] = { 0 };
    double largest = 0;
    CHECK(gemm_exact_w4(&p, 5, 0, code, scale, zero) == OP_OK && gemm_exact_x(K, 9, x) == OP_OK);
    for (int i = 0; i < COUNT; i++)
        seen[code[i]]++;
    for (int g = 0; g < COUNT / 128; g++) {
        zeros[zero[g]]++;
        scales[half_to_float(scale[g]) == 0.5f]++;
    }
    for (int i = 0; i < K; i++)
        xs[(int)half_to_float(x[i]) + 1]++;
    for (int c = 0; c < 16; c++)
        CHECK(seen[c] > COUNT / 32 && zeros[c] > 0);
    CHECK(scales[0] > 64 && scales[1] > 64 && xs[0] > 64 && xs[1] > 192 && xs[2] > 64);
    for (int j = 0; j < N; j++) { /* every partial sum is a number of steps that half holds */
        double sum = 0;
        for (int q = 0; q < K; q++) {
            const int g = (j * K + q) / 128;
            sum += (double)half_to_float(x[q]) * half_to_float(scale[g]) *
                   (code[j * K + q] - zero[g]);
            largest = fmax(largest, fabs(sum));
        }
    }
    CHECK(largest > 0 && largest * 4 <= 2048);
    CHECK(gemm_exact_w4(&p, 5, 1, code, scale, zero) == OP_OK && zero[0] == 8 && zero[100] == 8);
    free(code);
    free(zero);
    free(scale);
    free(x);
}

/* ---- the bound ---- */

struct trial {
    long outside, caught, planted;
    double worst; /* largest error over its bound where nothing is planted */
};

/* One row of K weights many times over: weights rounded to half as a kernel does, sums in
 * float or half; then with one code replaced. */
static struct trial try_rows(const struct gemm_impl *impl, int k, int rows)
{
    struct trial t = { 0, 0, 0, 0 };
    const struct gemm_problem p = { .m = 1, .n = 1, .k = k, .group = 128 };
    half_bits *w = malloc((size_t)k * 2), *scale = malloc((size_t)k / 128 * 2);
    unsigned char *code = malloc((size_t)k), *zero = malloc((size_t)k / 128);
    double *x = malloc((size_t)k * sizeof *x);
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < k; q++) {
            w[q] = half_from_float(0.02f * normal());
            x[q] = half_to_float(half_from_float(normal()));
        }
        gemm_quantise_w4(&p, w, 0, code, scale, zero);
        const int spot = (int)(exact_word(seed, 1) % (unsigned)k);
        const unsigned other = (code[spot] + 1 + exact_word(seed, 2) % 15) % 16;
        double want = 0, size = 0, zeros = 0, got = 0, planted = 0;
        for (int q = 0; q < k; q++) {
            const double s = half_to_float(scale[q / 128]), z = zero[q / 128];
            const double shift = half_to_float(half_from_float((float)(s * z)));
            const unsigned c = code[q];
            double made = impl->rounds_zero ? s * c - shift : s * (c - z);
            made = half_to_float(half_from_float((float)made));
            want += x[q] * s * (c - z);
            size += fabs(x[q] * s * (c - z));
            zeros += fabs(x[q]) * s * z;
            got += x[q] * made;
            if (impl->accumulate == GEMM_ACC_F16)
                got = half_to_float(half_from_float((float)got));
            if (q == spot)
                planted = x[q] * s * ((double)other - c);
        }
        const double bound = gemm_bound(impl, k, want, size, impl->rounds_zero ? zeros : 0);
        const double stored = half_to_float(half_from_float((float)got));
        const double broken = half_to_float(half_from_float((float)(got + planted)));
        t.outside += !(fabs(stored - want) <= bound);
        t.worst = fmax(t.worst, fabs(stored - want) / bound);
        t.caught += fabs(broken - want) > bound;
        t.planted++;
    }
    free(w);
    free(scale);
    free(code);
    free(zero);
    free(x);
    return t;
}

static void test_bound(void)
{
    const struct gemm_impl plain = { .scheme = GEMM_W4A16 };
    const struct gemm_impl rounds = { .scheme = GEMM_W4A16, .rounds_zero = 1 };
    const struct gemm_impl halves = { .scheme = GEMM_W4A16, .accumulate = GEMM_ACC_F16 };
    static const int lengths[] = { 128, 4096, 28672 };
    for (int i = 0; i < 3; i++) {
        const int rows = lengths[i] == 128 ? 4000 : lengths[i] == 4096 ? 300 : 40;
        const struct trial a = try_rows(&plain, lengths[i], rows);
        const struct trial b = try_rows(&rounds, lengths[i], rows);
        const struct trial c = try_rows(&halves, lengths[i], rows);
        CHECK(!a.outside && !b.outside && !c.outside);
        if (lengths[i] == 4096) {
            CHECK(a.caught > 0.8 * (double)a.planted);
            CHECK(b.caught > 0.5 * (double)b.planted);
        }
        printf("k=%d: error to bound at most %.2f, zero rounded %.2f, half sums %.2f; "
               "wrong codes caught %.0f %%, %.0f %%, %.0f %%\n",
               lengths[i], a.worst, b.worst, c.worst, 100.0 * (double)a.caught / (double)rows,
               100.0 * (double)b.caught / (double)rows, 100.0 * (double)c.caught / (double)rows);
    }
    CHECK(gemm_limit(&plain, 4096, 1e6) == 4e-4 && gemm_limit(&halves, 4096, 1e6) == 5e-3);
    CHECK(gemm_limit(&halves, 32768, 1e6) == 1e-2 && gemm_limit(&plain, 32768, 1e6) == 4e-4);
}

int main(void)
{
    test_e4m3();
    test_fp8_scale();
    test_w4();
    test_fixed_points();
    test_exact();
    test_bound();
    return TEST_END();
}
