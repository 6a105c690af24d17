/*
 * test_spmm.c - references and host kernels of spmm against a naive loop, on
 * odd shapes; the tables; what supports() refuses and why.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "../kernels/common/half.h"
#include "../kernels/spmm/shape.h"
#include "../kernels/spmm/spmm.h"
#include "test.h"

/* ---- matrices ---- */

enum pattern { SHORT_ROWS, ONE_DENSE_ROW, MOSTLY_EMPTY, NO_ENTRIES, FULL, EMPTY_ENDS };

struct host_matrix {
    int *row_ptr, *col, *row;
    float *val;
    half_bits *val16;
};

static unsigned state = 1;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

/* -2, -1, 1 or 2: sums and products of them are exact in float and half. */
static float small_integer(void)
{
    const int v = below(4);
    return (float)(v < 2 ? v - 2 : v - 1);
}

static float uniform(void)
{
    return (float)below(1 << 24) * 0x1p-23f - 1;
}

static bool present(enum pattern kind, int m, int i, int j)
{
    switch (kind) {
    case SHORT_ROWS: return below(8) == 0;
    case ONE_DENSE_ROW: return i == m / 2 || (j == 0 && below(2));
    case MOSTLY_EMPTY: return i % 3 == 0 && below(2);
    case NO_ENTRIES: return false;
    case FULL: return true;
    case EMPTY_ENDS: return i > 0 && i < m - 1 && below(3) == 0;
    }
    return false;
}

static struct host_matrix matrix_new(enum pattern kind, int m, int k, bool exact)
{
    const size_t most = (size_t)m * k;
    struct host_matrix a = {
        .row_ptr = malloc(((size_t)m + 1) * sizeof(int)), .col = malloc(most * sizeof(int)),
        .row = malloc(most * sizeof(int)), .val = malloc(most * sizeof(float)),
        .val16 = malloc(most * sizeof(half_bits)),
    };
    int nnz = 0;
    for (int i = 0; i < m; i++) {
        a.row_ptr[i] = nnz;
        for (int j = 0; j < k; j++) {
            if (!present(kind, m, i, j))
                continue;
            a.col[nnz] = j;
            a.row[nnz] = i;
            a.val16[nnz] = half_from_float(exact ? small_integer() : uniform());
            a.val[nnz] = half_to_float(a.val16[nnz]);
            nnz++;
        }
    }
    a.row_ptr[m] = nnz;
    return a;
}

static void matrix_free(struct host_matrix *a)
{
    free(a->row_ptr);
    free(a->col);
    free(a->row);
    free(a->val);
    free(a->val16);
}

/* ---- memory of set-up functions, freed together ---- */

struct pool {
    void *block[16];
    int count;
};

static void *pool_take(void *context, size_t bytes)
{
    struct pool *p = context;
    if (p->count == 16)
        return NULL;
    return p->block[p->count++] = aligned_alloc(256, (bytes + 255) / 256 * 256);
}

static void *nothing_left(void *context, size_t bytes)
{
    (void)context, (void)bytes;
    return NULL;
}

/* ---- one product by every host row ---- */

/* Runs i with C full of NaN and compares: to the bit if exact, else within bound.
 * Returns the number of wrong elements, -1 if a call failed. */
static long wrong_elements(const struct spmm_impl *i, const struct spmm_problem *p,
                           const struct spmm_args *args, const double *want, const float *bound,
                           bool exact)
{
    const size_t elements = (size_t)p->m * p->n, bytes = p->dtype == SPMM_F16 ? 2 : 4;
    struct pool pool = { .count = 0 };
    const struct op_memory memory = { pool_take, &pool };
    void *work = NULL;
    long wrong = 0;
    memset(args->c, 0xff, elements * bytes);
    if (i->setup && i->setup(p, &args->a, args, &memory, NULL, &work))
        return -1;
    if (i->run(p, args, work, NULL))
        wrong = -1;
    for (size_t e = 0; e < elements && wrong >= 0; e++) {
        const double got = p->dtype == SPMM_F16 ? half_to_float(((half_bits *)args->c)[e])
                                                : ((float *)args->c)[e];
        wrong += !(fabs(got - want[e]) <= (exact ? 0 : (double)bound[e]));
    }
    if (i->teardown)
        i->teardown(work);
    while (pool.count)
        free(pool.block[--pool.count]);
    return wrong;
}

/* want and bound of spmm_ref against a naive loop, and spmm_ref_at with them. */
static void check_reference(const struct spmm_problem *p, const struct spmm_matrix *a,
                            const struct host_matrix *h, const float *b, const double *want,
                            const float *bound)
{
    const double u_out = p->dtype == SPMM_F16 ? 0x1p-11 : 0x1p-24;
    const struct spmm_matrix as_float = { a->row_ptr, a->col, a->row, h->val };
    long wrong = 0;
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++) {
            const size_t e = (size_t)i * p->n + j;
            const double length = a->row_ptr[i + 1] - a->row_ptr[i];
            double sum = 0, magnitude = 0, at_magnitude;
            for (int q = a->row_ptr[i]; q < a->row_ptr[i + 1]; q++) {
                sum += (double)h->val[q] * b[(size_t)a->col[q] * p->n + j];
                magnitude += fabs((double)h->val[q] * b[(size_t)a->col[q] * p->n + j]);
            }
            const double least =
                4 * (u_out * fabs(sum) + 0x1p-24 * sqrt(length) * magnitude) * (1 - 1e-6);
            wrong += want[e] != sum || bound[e] < least || bound[e] > least * 1.01 + 0x1p-22;
            wrong += spmm_ref_at(p, &as_float, b, i, j, &at_magnitude) != sum;
            wrong += at_magnitude != magnitude;
            wrong += length == 0 && bound[e] != 0;
        }
    CHECK(wrong == 0);
}

static void check_product(enum pattern kind, int m, int k, int n, enum spmm_dtype dtype, bool exact)
{
    struct host_matrix h = matrix_new(kind, m, k, exact);
    const size_t b_size = (size_t)k * n, c_size = (size_t)m * n;
    float *b = malloc(b_size * sizeof *b), *bound = malloc(c_size * sizeof *bound);
    half_bits *b16 = malloc(b_size * sizeof *b16);
    double *want = malloc(c_size * sizeof *want);
    void *c = malloc(c_size * sizeof(float));
    struct spmm_problem p = { .n = n, .dtype = dtype };
    spmm_describe(m, k, h.row_ptr, &p);
    for (size_t e = 0; e < b_size; e++) {
        b16[e] = half_from_float(exact ? small_integer() : uniform());
        b[e] = half_to_float(b16[e]);
    }
    const bool half = dtype == SPMM_F16;
    const struct spmm_args args = { { h.row_ptr, h.col, h.row, half ? (void *)h.val16 : h.val },
                                    half ? (void *)b16 : b, c };
    CHECK(spmm_ref(&p, &args.a, args.b, want, bound) == OP_OK);
    check_reference(&p, &args.a, &h, b, want, bound);
    CHECK(wrong_elements(spmm_find("ref_csr"), &p, &args, want, bound, exact) == 0);
    CHECK(wrong_elements(spmm_find("host_rb"), &p, &args, want, bound, exact) == 0);
    CHECK(wrong_elements(spmm_find("host_eb"), &p, &args, want, bound, exact) == 0);
    matrix_free(&h);
    free(b);
    free(b16);
    free(bound);
    free(want);
    free(c);
}

static void test_products(void)
{
    static const int shape[][2] = { { 1, 1 }, { 1, 50 }, { 50, 1 }, { 7, 5 }, { 33, 65 } };
    static const int columns[] = { 1, 2, 3, 7, 32, 33, 63, 64, 65, 130 };
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
        for (enum pattern kind = SHORT_ROWS; kind <= EMPTY_ENDS; kind++)
            for (size_t n = 0; n < sizeof columns / sizeof *columns; n++)
                for (int variant = 0; variant < 4; variant++)
                    check_product(kind, shape[s][0], shape[s][1], columns[n],
                                  variant & 1 ? SPMM_F16 : SPMM_F32, variant & 2);
    check_product(ONE_DENSE_ROW, 300, 5000, 3, SPMM_F32, true);
    check_product(SHORT_ROWS, 2000, 40, 5, SPMM_F32, false);
}

/* ---- descriptions, tables, refusals ---- */

static void test_describe(void)
{
    static const int row_ptr[] = { 0, 3, 3, 4, 8 };
    struct spmm_problem p = { .n = 7, .dtype = SPMM_F16 };
    spmm_describe(4, 9, row_ptr, &p);
    CHECK(p.m == 4 && p.k == 9 && p.nnz == 8 && p.row_max == 4 && p.empty_rows == 1);
    CHECK(p.n == 7 && p.dtype == SPMM_F16);
    CHECK(p.row_mean == 2);
    CHECK_NEAR(p.row_sd, sqrt((1 + 4 + 1 + 4) / 4.0), 1e-15);
}

static bool same_name(const struct spmm_impl *a, const struct spmm_impl *b)
{
    return !strcmp(a->base.name, b->base.name) || !strcmp(a->base.title, b->base.title);
}

static void test_tables(void)
{
    const struct spmm_impl *const table[] = { spmm_references, spmm_kernels, spmm_baselines };
    static const enum op_role first_role[] = { OP_REFERENCE, OP_PAPER, OP_BASELINE };
    const struct spmm_impl *all[128];
    int count = 0;
#ifdef WITH_CUDA
    const bool cuda = true;
#else
    const bool cuda = false;
#endif
    for (int t = 0; t < 3; t++) {
        CHECK(table[t]->base.role == first_role[t]);
        for (const struct spmm_impl *i = table[t]; i->base.name && count < 128; i++)
            all[count++] = i;
    }
    CHECK(count >= 46 && count < 128);
    for (int i = 0; i < count; i++) {
        const struct op_impl *base = &all[i]->base;
        CHECK(base->title && base->origin && all[i]->supports);
        CHECK(spmm_find(base->name) == all[i]);
        CHECK((all[i]->run != NULL) == (base->sm_max == 0 || cuda));
        CHECK(base->sm_min <= base->sm_max);
        CHECK(!base->layout || !strcmp(base->layout, "row") || !strcmp(base->layout, "column"));
        CHECK(all[i]->setup || !all[i]->teardown); /* a state of taken memory alone needs no end */
        CHECK((base->flags & OP_KNOWN_WRONG) == 0 || base->known_wrong);
        for (int j = 0; j < i; j++)
            CHECK(!same_name(all[i], all[j]));
    }
    CHECK(spmm_find("rb_sr") == NULL);
    CHECK(spmm_find("cusparse_csr_alg2_pre_rm") && spmm_find("cusparse_coo_alg4_cm"));
    CHECK(spmm_find("cusparse_spmv_coo_alg2") && !spmm_find("cusparse_spmv_coo_alg2")->base.layout);
}

/* The text that the row gives for refusing, "" if it does not refuse. */
static const char *refusal(const char *name, int m, int n, long nnz, enum spmm_dtype dtype)
{
    const struct spmm_problem p = { .m = m, .k = 1000, .n = n, .nnz = nnz, .dtype = dtype };
    const char *why = NULL;
    switch (spmm_find(name)->supports(&p, &why)) {
    case OP_OK: return "";
    case OP_EUNSUPPORTED: return why;
    default: return "neither";
    }
}

static void test_refusals(void)
{
    static const char *const eight[] = { "rb_sr_rm", "rb_pr_rm", "eb_sr_rm", "eb_pr_rm",
                                         "rb_sr_cm", "rb_pr_cm", "eb_sr_cm", "eb_pr_cm" };
    static const char *const any[] = { "eb_sr_rm_csr", "eb_pr_rm_csr", "host_rb", "host_eb",
                                       "cusparse_csr_alg2_rm" };
    static const char no_blocks[] =
        "the published grid has no blocks: less than eight warps of work";
    for (int t = 0; t < 8; t++) {
        for (int n = 1; n <= 512; n *= 2)
            CHECK_STR(refusal(eight[t], 1000, n, 10000, SPMM_F32), "");
        CHECK_STR(refusal(eight[t], 1000, 33, 10000, SPMM_F32), "n is not a power of two");
        CHECK_STR(refusal(eight[t], 1000, 32, 10000, SPMM_F16), "float only");
    }
    for (size_t t = 0; t < sizeof any / sizeof *any; t++)
        for (int n = 1; n <= 130; n++)
            CHECK_STR(refusal(any[t], 3, n, 2, SPMM_F32), "");

    /* n = 1: 8 warps need 225 entries and 8 rows; n = 32: eight groups of columns, so 1 row */
    CHECK_STR(refusal("rb_pr_rm", 8, 1, 224, SPMM_F32), no_blocks);
    CHECK_STR(refusal("rb_pr_rm", 8, 1, 225, SPMM_F32), "");
    CHECK_STR(refusal("eb_pr_rm", 7, 1, 10000, SPMM_F32), no_blocks);
    CHECK_STR(refusal("eb_pr_rm", 1, 32, 1, SPMM_F32), "");
    CHECK_STR(refusal("eb_pr_rm", 1, 32, 0, SPMM_F32), no_blocks);
    CHECK_STR(refusal("eb_pr_rm", 3, 8, 300, SPMM_F32), no_blocks);
    CHECK_STR(refusal("eb_pr_rm", 4, 8, 300, SPMM_F32), "");
    CHECK_STR(refusal("rb_pr_cm", 7, 1, 10000, SPMM_F32), no_blocks);
    CHECK_STR(refusal("rb_pr_cm", 7, 2, 10000, SPMM_F32), "");
    CHECK_STR(refusal("eb_pr_cm", 7, 2, 0, SPMM_F32),
              "the published grid has no blocks: no entries");
    CHECK_STR(refusal("eb_pr_cm_mended", 7, 2, 0, SPMM_F32), "");
    CHECK_STR(refusal("rb_sr_cm", 7, 1 << 16, 10, SPMM_F32),
              "n exceeds 65535, the limit of grid y");
    CHECK_STR(refusal("rb_sr_rm", 7, 1 << 16, 10, SPMM_F32), "");
    CHECK_STR(refusal("rb_sr_rm", 7, 1 << 21, 10, SPMM_F32),
              "n needs more than 65535 tiles of columns");
    CHECK_STR(refusal("rb_sr_rm_rc", 7, 32, 10, SPMM_F32),
              "n is 32 or less: row caching is for more columns");
    CHECK_STR(refusal("eb_sr_rm_rc", 7, 33, 10, SPMM_F32), "");
    CHECK_STR(refusal("rb_pr_rm_any", 7, 64, 10, SPMM_F32),
              "n is a power of two: the row without _any covers it");
    CHECK_STR(refusal("rb_sr_rm_any", 7, 3, 10, SPMM_F32), "");
    CHECK_STR(refusal("cusparse_spmv_csr_alg1", 7, 2, 10, SPMM_F32),
              "a product with a vector: n is not 1");
    CHECK_STR(refusal("cusparse_spmv_csr_alg1", 7, 1, 10, SPMM_F16), "");
}

static void test_no_memory(void)
{
    static const int row_ptr[] = { 0, 0 };
    const struct spmm_impl *i = spmm_find("host_eb");
    const struct op_memory memory = { nothing_left, NULL };
    const struct spmm_args args = { .b = NULL };
    struct spmm_problem p = { .n = 1 };
    void *work = &p;
    spmm_describe(1, 1, row_ptr, &p);
    CHECK(i->setup(&p, &args.a, &args, &memory, NULL, &work) == OP_ENOMEM && !work);
    i->teardown(NULL);
}

static void test_extra_bytes(void)
{
    const struct spmm_problem p = { .m = 10, .k = 5, .n = 4, .nnz = 30 };
    CHECK(!spmm_find("rb_sr_rm")->extra_bytes);
    CHECK(spmm_find("eb_pr_rm")->extra_bytes(&p) == 4 * 40 + 4 * 30);
    CHECK(spmm_find("eb_pr_rm_csr")->extra_bytes(&p) == 4 * 40);
}

int main(void)
{
    test_describe();
    test_products();
    test_tables();
    test_refusals();
    test_no_memory();
    test_extra_bytes();
    return TEST_END();
}
