/* test_gemm.c - the references of gemm against a naive loop, in every scheme; the tables of
 * its rows; binary16 over all its values. */
#include <stdbool.h>
#include <stdlib.h>

#include "../kernels/gemm/bound.h"
#include "../kernels/gemm/quantise.h"
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

/* ---- a product in one scheme ---- */

struct operands {
    half_bits *x, *w, *y, *scale;
    unsigned char *code, *zero, *x8, *w8;
    float x8_scale, w8_scale;
};

static struct operands open_operands(const struct gemm_problem *p, bool exact)
{
    const size_t xn = (size_t)p->m * p->k, wn = (size_t)p->n * p->k;
    struct operands o = { malloc(2 * xn), malloc(2 * wn), malloc((size_t)p->m * p->n * 2),
                          malloc(2 * wn / p->group), malloc(wn), malloc(wn / p->group),
                          malloc(xn), malloc(wn), 0, 0 };
    for (size_t i = 0; i < xn; i++)
        o.x[i] = element(exact);
    for (size_t j = 0; j < wn; j++)
        o.w[j] = element(exact);
    CHECK(gemm_quantise_fp8(o.x, xn, exact, o.x8, &o.x8_scale) == OP_OK);
    CHECK(gemm_quantise_fp8(o.w, wn, exact, o.w8, &o.w8_scale) == OP_OK);
    return o;
}

static void make_w4(const struct gemm_problem *p, struct operands *o, bool exact, int symmetric)
{
    CHECK((exact ? gemm_exact_w4(p, 7, symmetric, o->code, o->scale, o->zero)
                 : gemm_quantise_w4(p, o->w, symmetric, o->code, o->scale, o->zero)) == OP_OK);
}

static void close_operands(struct operands *o)
{
    free(o->x);
    free(o->w);
    free(o->y);
    free(o->scale);
    free(o->code);
    free(o->zero);
    free(o->x8);
    free(o->w8);
}

/* What the definition says, written apart from the references. */
static double x_at(const struct gemm_problem *p, enum gemm_scheme s, const struct operands *o,
                   int i, int q)
{
    const size_t at = (size_t)i * p->k + q;
    return s == GEMM_FP8 ? (double)o->x8_scale * e4m3_to_float(o->x8[at]) : half_to_float(o->x[at]);
}

static double w_at(const struct gemm_problem *p, enum gemm_scheme s, const struct operands *o,
                   int j, int q, double *zero)
{
    const size_t at = (size_t)j * p->k + q, g = at / p->group;
    *zero = 0;
    if (s == GEMM_F16)
        return half_to_float(o->w[at]);
    if (s == GEMM_FP8)
        return (double)o->w8_scale * e4m3_to_float(o->w8[at]);
    *zero = (double)half_to_float(o->scale[g]) * o->zero[g];
    return (double)half_to_float(o->scale[g]) * o->code[at] - *zero;
}

static const struct gemm_impl *reference_of(enum gemm_scheme s)
{
    const struct gemm_impl *i = gemm_references;
    while (i->scheme != s)
        i++;
    return i;
}

static void check_product(const struct gemm_problem *p, enum gemm_scheme scheme, bool exact)
{
    const int m = p->m, n = p->n, k = p->k;
    const size_t out = (size_t)m * n;
    const struct op_memory memory = { take, NULL };
    const struct gemm_impl *impl = reference_of(scheme);
    struct operands o = open_operands(p, exact);
    double *want = malloc(out * sizeof *want), *sums = malloc(5 * (size_t)m * sizeof *sums);
    float *size = malloc(out * sizeof *size), *zeros = malloc(out * sizeof *zeros);
    signed char *sign = malloc((size_t)n);
    int *row = malloc((size_t)m * sizeof *row);
    void *work = NULL;
    long wrong = 0;
    if (gemm_is_w4(scheme))
        make_w4(p, &o, exact, scheme == GEMM_W4A16_SYM);
    for (int i = 0; i < m; i++) /* every row once, not in order */
        row[i] = m - 1 - i;
    for (int j = 0; j < n; j++)
        sign[j] = element(false) & 0x8000 ? -1 : 1;
    memset(o.y, 0xff, out * sizeof *o.y);

    const struct gemm_args args = { .x = o.x, .w = o.w, .y = o.y,
                                    .w4 = { o.code, o.scale, o.zero }, .x8 = o.x8, .w8 = o.w8,
                                    .x8_scale = &o.x8_scale, .w8_scale = &o.w8_scale };
    CHECK(impl->setup(p, &args, &memory, NULL, &work) == OP_OK);
    CHECK(impl->run(p, &args, work, NULL) == OP_OK);
    CHECK(gemm_ref_rows(p, scheme, &args, row, m, want, size, zeros) == OP_OK);
    CHECK(gemm_ref_freivalds(p, scheme, &args, sign, sums, sums + m, sums + 2 * m) == OP_OK);
    CHECK(gemm_ref_signed(p, o.y, sign, sums + 3 * m, sums + 4 * m) == OP_OK);
    for (int i = 0; i < m; i++) {
        double row_sum = 0, row_size = 0, row_zeros = 0;
        for (int j = 0; j < n; j++) {
            const size_t at = (size_t)(m - 1 - i) * n + j;
            double sum = 0, magnitude = 0, zero_sum = 0;
            for (int q = 0; q < k; q++) {
                double zero;
                const double x = x_at(p, scheme, &o, i, q);
                const double w = w_at(p, scheme, &o, j, q, &zero);
                sum += x * w;
                magnitude += fabs(x * w);
                zero_sum += fabs(x) * zero;
            }
            const double bound = gemm_bound(impl, k, want[at], (double)size[at], 0);
            wrong += !(fabs(want[at] - sum) <= (exact ? 0 : 1e-12 * (magnitude + zero_sum)));
            wrong += !(fabs((double)size[at] - magnitude) <= 1e-6 * magnitude);
            if (scheme == GEMM_W4A16)
                wrong += !(fabs((double)zeros[at] - zero_sum) <= 1e-6 * zero_sum);
            wrong += !(fabs((double)half_to_float(o.y[(size_t)i * n + j]) - sum) <=
                       (exact ? 0 : bound));
            row_sum += sign[j] * sum;
            row_size += magnitude;
            row_zeros += zero_sum;
        }
        wrong += !(fabs(sums[i] - row_sum) <= 1e-11 * (row_size + row_zeros));
        wrong += !(fabs(sums[m + i] - row_size) <= 1e-11 * row_size);
        if (scheme == GEMM_W4A16)
            wrong += !(fabs(sums[2 * m + i] - row_zeros) <= 1e-11 * row_zeros);
        wrong += !(fabs(sums[3 * m + i] - sums[i]) <=
                   (exact ? 0
                          : gemm_bound_freivalds(impl, k, n, sums[4 * m + i], sums[m + i], 0)));
    }
    CHECK(wrong == 0);
    if (wrong)
        printf("  %s m=%d n=%d k=%d group=%d exact=%d: %ld wrong\n", impl->base.name, m, n, k,
               p->group, exact, wrong);
    impl->teardown(work);
    while (pooled)
        free(pool[--pooled]);
    close_operands(&o);
    free(want);
    free(sums);
    free(size);
    free(zeros);
    free(sign);
    free(row);
}

static void test_products(void)
{
    static const int shape[][4] = { { 1, 1, 1, 1 },       { 1, 300, 64, 64 },   { 3, 5, 7, 7 },
                                    { 17, 255, 33, 11 },  { 8, 256, 100, 50 },  { 5, 257, 128, 128 },
                                    { 4, 260, 384, 128 }, { 6, 33, 192, 64 } };
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
        for (int scheme = GEMM_F16; scheme <= GEMM_FP8; scheme++) {
            const struct gemm_problem p = { shape[s][0], shape[s][1], shape[s][2], shape[s][3] };
            check_product(&p, (enum gemm_scheme)scheme, true);
            check_product(&p, (enum gemm_scheme)scheme, false);
        }
}

static void test_faults(void)
{
    const struct gemm_problem p = { .m = 2, .n = 2, .k = 2, .group = 2 };
    const struct gemm_problem none = { .m = 2, .n = 0, .k = 2, .group = 2 };
    const struct gemm_problem uneven = { .m = 2, .n = 2, .k = 3, .group = 2 };
    const struct op_memory memory = { nothing_left, NULL };
    half_bits x[6] = { 0 };
    const struct gemm_args args = { .x = x, .w = x };
    double want[4];
    float size[4];
    int row = 0;
    void *work = &row;
    CHECK(gemm_references[0].setup(&p, &args, &memory, NULL, &work) == OP_ENOMEM && !work);
    gemm_references[0].teardown(NULL);
    CHECK(gemm_ref_rows(&none, GEMM_F16, &args, &row, 1, want, size, NULL) == OP_EINVAL);
    CHECK(gemm_ref_rows(&uneven, GEMM_W4A16, &args, &row, 1, want, size, NULL) == OP_EINVAL);
    CHECK(gemm_ref_rows(&uneven, GEMM_F16, &args, &row, 1, want, size, NULL) == OP_OK);
    CHECK(gemm_ref_rows(&p, GEMM_F16, &args, &row, 0, want, size, NULL) == OP_OK);
}

/* ---- tables ---- */

static const struct gemm_impl *const table[] = { gemm_references, gemm_kernels, gemm_baselines };

static const struct gemm_impl *find(const char *name)
{
    for (int t = 0; t < 3; t++)
        for (const struct gemm_impl *i = table[t]; i->base.name; i++)
            if (!strcmp(i->base.name, name))
                return i;
    return NULL;
}

static void test_tables(void)
{
    for (int t = 0; t < 3; t++)
        for (const struct gemm_impl *i = table[t]; i->base.name; i++) {
            const struct op_impl *b = &i->base;
            bool good = find(b->name) == i && b->title && b->origin;
            good = good && (t == 0) == (b->role == OP_REFERENCE) &&
                   (t == 2 ? b->role == OP_BASELINE || b->role == OP_ABLATION
                           : b->role != OP_BASELINE);
            good = good && gemm_is_w4(i->scheme) == (strstr(b->name, "w4a16") != NULL);
            good = good && (i->scheme == GEMM_W4A16_SYM) == (strstr(b->name, "_sym") != NULL);
            good = good && !(b->flags & OP_CHOOSES && i->run && !i->choice);
            good = good && (b->role == OP_ABLATION) == (b->stage != OP_COMPLETE);
            if (b->role == OP_ABLATION)
                good = good && b->ablates && find(b->ablates) &&
                       find(b->ablates)->scheme == i->scheme;
#ifdef WITH_CUDA
            good = good && i->run && !i->setup == !i->teardown;
#else
            good = good && (t == 0 || (!i->run && !i->setup));
#endif
            CHECK(good);
            if (!good)
                printf("  row %s\n", b->name);
        }
    CHECK(find("cublas_f16") == gemm_baselines);
    CHECK(find("cublaslt_int8") && find("cublaslt_int8_alone"));
    CHECK(find("cublaslt_f16_best") && find("cublaslt_fp8") && find("w4a16_dequant_cublas"));
}

static void test_bytes(void)
{
    const struct gemm_problem p = { .m = 1, .n = 4096, .k = 4096, .group = 128 };
    const double weights = 4096.0 * 4096;
    CHECK(gemm_weight_bytes(&p, GEMM_F16) == 2 * weights);
    CHECK(gemm_weight_bytes(&p, GEMM_W4A16) == weights * 0.51953125);
    CHECK(gemm_weight_bytes(&p, GEMM_W4A16_SYM) == weights * 0.515625);
    CHECK(gemm_weight_bytes(&p, GEMM_FP8) == weights + 4);
}

int main(void)
{
    test_half();
    test_products();
    test_faults();
    test_tables();
    test_bytes();
    return TEST_END();
}
