/* test_gemm.c - the references of gemm against a naive loop; binary16 over all its values. */
#include <stdbool.h>
#include <stdlib.h>

#include "../kernels/common/half.h"
#include "../kernels/gemm/gemm.h"
#include "test.h"

static void test_half(void)
{
    long wrong = 0;
    for (unsigned h = 0; h < 0x10000; h++) {
        const float f = half_to_float((half_bits)h);
        const half_bits back = half_from_float(f);
        if ((h & 0x7fff) > 0x7c00)
            wrong += !isnan(f) || (back & 0x7fff) <= 0x7c00;
        else
            wrong += back != h;
    }
    CHECK(wrong == 0);

    /* between neighbours a and b: the middle goes to the even one, a hair beside it does not */
    wrong = 0;
    for (unsigned h = 0; h < 0x7bff; h++) {
        const float a = half_to_float((half_bits)h), b = half_to_float((half_bits)(h + 1));
        const float middle = a + (b - a) / 2;
        wrong += half_from_float(middle) != (h & 1 ? h + 1 : h);
        wrong += half_from_float(-middle) != ((h & 1 ? h + 1 : h) | 0x8000);
        wrong += half_from_float(nextafterf(middle, 0)) != h;
        wrong += half_from_float(nextafterf(middle, INFINITY)) != h + 1;
    }
    CHECK(wrong == 0);
    CHECK(half_to_float(0x3c00) == 1 && half_to_float(0xc000) == -2);
    CHECK(half_to_float(0x0001) == 0x1p-24f && half_to_float(0x7bff) == 65504);
    CHECK(half_from_float(65519.996f) == 0x7bff && half_from_float(65520) == 0x7c00);
    CHECK(half_from_float(-INFINITY) == 0xfc00 && half_from_float(0x1p-26f) == 0);
}

static unsigned state = 1;

/* exact: -2 .. 2; else uniform in [-1, 1) */
static half_bits element(bool exact)
{
    state = state * 1664525u + 1013904223u;
    const int v = (int)(state >> 8);
    return half_from_float(exact ? (float)(v % 5 - 2) : (float)v * 0x1p-23f - 1);
}

static void *pool[8];
static int pooled;

static void *take(void *context, size_t bytes)
{
    (void)context;
    return pooled < 8 ? pool[pooled++] = aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
}

static void *nothing_left(void *context, size_t bytes)
{
    (void)context, (void)bytes;
    return NULL;
}

static void check_product(int m, int n, int k, bool exact)
{
    const struct gemm_problem p = { .m = m, .n = n, .k = k, .group = k };
    const struct op_memory memory = { take, NULL };
    half_bits *x = malloc((size_t)m * k * sizeof *x), *w = malloc((size_t)n * k * sizeof *w);
    half_bits *y = malloc((size_t)m * n * sizeof *y);
    double *want = malloc((size_t)m * n * sizeof *want);
    float *bound = malloc((size_t)m * n * sizeof *bound);
    int *row = malloc((size_t)m * sizeof *row);
    void *work = NULL;
    long wrong = 0;
    for (int i = 0; i < m * k; i++)
        x[i] = element(exact);
    for (int j = 0; j < n * k; j++)
        w[j] = element(exact);
    for (int i = 0; i < m; i++) /* every row once, not in order */
        row[i] = m - 1 - i;
    memset(y, 0xff, (size_t)m * n * sizeof *y);

    const struct gemm_args args = { x, w, y };
    CHECK(gemm_references[0].setup(&p, &args, &memory, NULL, &work) == OP_OK);
    CHECK(gemm_references[0].run(&p, &args, work, NULL) == OP_OK);
    CHECK(gemm_ref_rows(&p, x, w, row, m, want, bound) == OP_OK);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            const size_t at = (size_t)(m - 1 - i) * n + j;
            double sum = 0, magnitude = 0;
            for (int q = 0; q < k; q++) {
                const double product =
                    (double)half_to_float(x[i * k + q]) * half_to_float(w[j * k + q]);
                sum += product;
                magnitude += fabs(product);
            }
            const double limit = 4 * (0x1p-11 * fabs(sum) + 0x1p-24 * sqrt(k) * magnitude);
            const double tolerance = exact ? 0 : 1e-12 * magnitude;
            wrong += !(fabs(want[at] - sum) <= tolerance);
            wrong += !(bound[at] >= limit * (1 - 1e-6) && bound[at] <= limit * 1.01 + 0x1p-22);
            wrong += !(fabs(half_to_float(y[(size_t)i * n + j]) - sum) <=
                       (exact ? 0 : (double)bound[at]));
        }
    CHECK(wrong == 0);
    gemm_references[0].teardown(work);
    while (pooled)
        free(pool[--pooled]);
    free(x);
    free(w);
    free(y);
    free(want);
    free(bound);
    free(row);
}

static void test_products(void)
{
    static const int shape[][3] = { { 1, 1, 1 },    { 1, 300, 64 },  { 3, 5, 7 },
                                    { 17, 255, 33 }, { 8, 256, 100 }, { 5, 257, 128 } };
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        check_product(shape[s][0], shape[s][1], shape[s][2], true);
        check_product(shape[s][0], shape[s][1], shape[s][2], false);
    }
}

static void test_faults(void)
{
    const struct gemm_problem p = { .m = 2, .n = 2, .k = 2, .group = 2 };
    const struct gemm_problem none = { .m = 2, .n = 0, .k = 2, .group = 2 };
    const struct op_memory memory = { nothing_left, NULL };
    const struct gemm_args args = { NULL, NULL, NULL };
    half_bits x[4] = { 0 };
    double want[4];
    float bound[4];
    int row = 0;
    void *work = &row;
    CHECK(gemm_references[0].setup(&p, &args, &memory, NULL, &work) == OP_ENOMEM && !work);
    gemm_references[0].teardown(NULL);
    CHECK(gemm_ref_rows(&none, x, x, &row, 1, want, bound) == OP_EINVAL);
    CHECK(gemm_ref_rows(&p, x, x, &row, 0, want, bound) == OP_OK);
}

static void test_tables(void)
{
    const struct gemm_impl *cublas = &gemm_baselines[0];
    CHECK_STR(gemm_references[0].base.name, "ref_f16");
    CHECK(gemm_references[0].base.role == OP_REFERENCE && !gemm_references[1].base.name);
    CHECK(!gemm_kernels[0].base.name);
    CHECK_STR(cublas->base.name, "cublas_f16");
    CHECK(cublas->base.role == OP_BASELINE && !gemm_baselines[1].base.name);
#ifdef WITH_CUDA
    CHECK(cublas->setup && cublas->teardown && cublas->run);
#else
    CHECK(!cublas->setup && !cublas->teardown && !cublas->run);
#endif
}

int main(void)
{
    test_half();
    test_products();
    test_faults();
    test_tables();
    return TEST_END();
}
