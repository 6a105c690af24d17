/*
 * test_spmm_mma.c - A as column vectors: their number against a naive count, the rule, places of
 * values, the division of steps; which problems the tensor-core rows take; and that the bound of
 * dtype tf32 holds factors rounded to TF32, the bound of f32 does not, and neither coarser ones.
 */
#include <stdlib.h>

#include "../kernels/common/half.h"
#include "../kernels/spmm/vectors.h"
#include "test.h"

static unsigned state = 1;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

static float uniform(void)
{
    return (float)below(1 << 24) * 0x1p-23f - 1;
}

/* ---- matrices ---- */

struct pattern {
    int m, k, *row_ptr, *col;
};

/* One column in `sparse`; rows of the same `together` rows have the same columns. */
static struct pattern pattern_of(int m, int k, int sparse, int together)
{
    struct pattern a = { m, k, malloc(((size_t)m + 1) * sizeof(int)),
                         malloc(((size_t)m * k + 1) * sizeof(int)) };
    int nnz = 0;
    a.row_ptr[0] = 0;
    for (int i = 0; i < m; i++) {
        state = (unsigned)(i / together) * 7919u + 13;
        for (int j = 0; j < k; j++)
            if (below(sparse) == 0)
                a.col[nnz++] = j;
        a.row_ptr[i + 1] = nnz;
    }
    return a;
}

static void pattern_free(struct pattern *a)
{
    free(a->row_ptr);
    free(a->col);
}

static void check_count(int m, int k, int sparse, int together)
{
    struct pattern a = pattern_of(m, k, sparse, together);
    struct spmm_problem p = { .n = 8, .dtype = SPMM_F16 };
    unsigned char *seen = malloc((size_t)k);
    spmm_describe(m, k, a.row_ptr, &p);
    vectors_count(a.row_ptr, a.col, &p);
    for (int g = 1; g <= 2; g++) {
        long vectors = 0, steps = 0;
        for (int i = 0; i < m; i += 8 * g) {
            long here = 0;
            memset(seen, 0, (size_t)k);
            for (int r = i; r < m && r < i + 8 * g; r++)
                for (int e = a.row_ptr[r]; e < a.row_ptr[r + 1]; e++) {
                    here += !seen[a.col[e]];
                    seen[a.col[e]] = 1;
                }
            vectors += here;
            steps += (here + 15) / 16;
        }
        CHECK(p.vectors[g - 1] == vectors && p.steps[g - 1] == steps);
    }
    free(seen);
    pattern_free(&a);
}

static void test_count(void)
{
    static const int shape[][2] = { { 1, 1 }, { 7, 3 }, { 8, 100 }, { 9, 33 }, { 200, 64 }, { 333, 97 } };
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
        for (int sparse = 1; sparse < 200; sparse = sparse * 3 + 1)
            for (int together = 1; together <= 16; together *= 4)
                check_count(shape[s][0], shape[s][1], sparse, together);
}

/* ---- the rule ---- */

static int rule_of(const struct pattern *a, int n, enum spmm_dtype dtype)
{
    struct spmm_problem p = { .n = n, .dtype = dtype };
    spmm_describe(a->m, a->k, a->row_ptr, &p);
    vectors_count(a->row_ptr, a->col, &p);
    return vectors_rule(&p);
}

static void test_rule(void)
{
    struct pattern blocks8 = pattern_of(400, 2000, 40, 8), blocks16 = pattern_of(4000, 64, 2, 16);
    struct pattern loose = pattern_of(400, 5000, 500, 1), none = pattern_of(10, 10, 1 << 24, 1);
    for (int n = 8; n <= 256; n *= 2)
        for (int d = SPMM_F16; d <= SPMM_TF32; d++) {
            const enum spmm_dtype dtype = (enum spmm_dtype)d;
            CHECK(rule_of(&blocks8, n, dtype) == 1);
            CHECK(rule_of(&blocks16, n, dtype) == 2);
            CHECK(rule_of(&loose, n, dtype) == 0);
            CHECK(rule_of(&none, n, dtype) == 0);
        }
    /* by hand, n = 64, half: a row of B is 128 bytes; 3 steps of 8 or 2 of 16, 40 or 24 vectors */
    struct spmm_problem p = { .m = 16, .k = 99, .n = 64, .dtype = SPMM_F16, .nnz = 100,
                              .vectors = { 40, 24 }, .steps = { 3, 2 } };
    const double eight = 16 * 3 * 20.0 + 40 * 128, sixteen = 16 * 2 * 36.0 + 24 * 128;
    CHECK(sixteen < eight && vectors_rule(&p) == 2);
    CHECK(vectors_extra_bytes(&p) == 16 * 2 * 36.0 - 100 * 6 - 4 * 17);
    p.nnz = (long)(sixteen / 0.9 / 134) + 1;
    CHECK(vectors_rule(&p) == 2);
    p.nnz--;
    CHECK(vectors_rule(&p) == 0 && vectors_extra_bytes(&p) == 0);
    pattern_free(&blocks8);
    pattern_free(&blocks16);
    pattern_free(&loose);
    pattern_free(&none);
}

/* ---- places ---- */

static void test_slots(void)
{
    for (int groups = 1; groups <= 2; groups++) {
        unsigned char seen[3 * 2 * 128] = { 0 };
        for (long step = 0; step < 3; step++)
            for (int row = 0; row < 8 * groups; row++)
                for (int v = 0; v < 16; v++) {
                    const size_t at = vectors_slot(step, groups, row, v), lane = at / 4 % 32;
                    CHECK(at < (size_t)3 * groups * 128 && !seen[at]++);
                    CHECK((int)lane / 4 == row % 8 && (int)(lane % 4 * 4 + at % 4) == v);
                    CHECK(at / 128 == (size_t)(step * groups + row / 8));
                }
    }
    CHECK(vectors_slot(1L << 30, 2, 15, 15) == ((size_t)1 << 38) + 255); /* beyond 32 bits */
}

/* ---- division ---- */

static void check_division(const int *steps, int panels, int whole)
{
    struct vectors_plan plan;
    int at = 0, item = 0, cut = 0, slot = 0;
    CHECK(vectors_divide(steps, panels, whole, &plan) == OP_OK);
    for (int i = 0; i < panels; i++) {
        const int end = at + steps[i], first = item;
        do {
            const struct vectors_item *x = &plan.item[item++];
            CHECK(item <= plan.items && x->panel == i && x->begin == at && x->end <= end);
            CHECK(x->end - x->begin <= whole && (x->end > x->begin || !steps[i]));
            CHECK(x->slot == (steps[i] > whole ? slot : -1));
            slot += x->slot >= 0;
            at = x->end;
        } while (at < end);
        if (item - first > 1) {
            CHECK(cut < plan.cuts && plan.cut[cut].panel == i);
            CHECK(plan.cut[cut].pieces == item - first);
            CHECK(plan.cut[cut].first == slot - (item - first));
            cut++;
        }
    }
    CHECK(item == plan.items && cut == plan.cuts && slot == plan.slots);
    vectors_plan_free(&plan);
}

static void test_division(void)
{
    static const int by_hand[] = { 0, 1, 8, 9, 16, 17, 0, 100, 0 };
    int steps[500];
    check_division(by_hand, 9, 8);
    check_division(by_hand, 1, 8);
    for (int t = 0; t < 200; t++) {
        const int panels = 1 + below(500);
        for (int i = 0; i < panels; i++)
            steps[i] = below(4) ? below(6) : below(3000);
        check_division(steps, panels, 1 + below(64));
    }
    for (long s = 1; s < 1L << 40; s *= 3) {
        const int whole = vectors_whole(s, 4);
        CHECK(whole >= 8 && whole <= 64);
    }
    steps[0] = steps[1] = steps[2] = 1 << 30;
    struct vectors_plan plan;
    CHECK(vectors_divide(steps, 3, 64, &plan) == OP_EUNSUPPORTED && !plan.item);
    vectors_plan_free(&plan);
}

/* ---- which problems ---- */

static const char *refusal(const char *name, const struct spmm_problem *p)
{
    const char *why = NULL;
    return spmm_find(name)->supports(p, &why) == OP_OK ? "" : why;
}

static void test_refusals(void)
{
    static const char *const of_floats[] = { "own_row", "own_merge", "rb_sr_rm", "eb_pr_rm_csr",
                                             "host_rb", "edges_scatter", "cusparse_csr_alg2_rm" };
    struct spmm_problem p = { .m = 1000, .k = 1000, .n = 32, .nnz = 100000,
                              .vectors = { 15000, 14000 }, .steps = { 1000, 900 } };
    p.dtype = SPMM_F16;
    CHECK_STR(refusal("own_mma_f16", &p), "");
    CHECK_STR(refusal("own_mma_tf32", &p), "dtype tf32 only");
    p.dtype = SPMM_F32;
    CHECK_STR(refusal("own_mma_f16", &p), "half only");
    CHECK_STR(refusal("own_mma_tf32", &p), "dtype tf32 only");
    p.dtype = SPMM_TF32;
    CHECK_STR(refusal("own_mma_f16", &p), "half only");
    CHECK_STR(refusal("own_mma_tf32", &p), "");
    for (size_t i = 0; i < sizeof of_floats / sizeof *of_floats; i++)
        CHECK_STR(refusal(of_floats[i], &p), "");
    p.nnz = 16000;
    CHECK_STR(refusal("own_mma_tf32", &p), "too few entries a column vector: CSR moves as few bytes");
    p.vectors[0] = 0;
    CHECK_STR(refusal("own_mma_tf32", &p), "column vectors were not counted");
    p.nnz = 0;
    CHECK_STR(refusal("own_mma_tf32", &p), "no entries");
}

/* ---- the bound of rounded factors ---- */

/* To `bits` significant bits, ties away from zero as the conversion to TF32 does. */
static float rounded(float x, int bits)
{
    const uint32_t half = 1u << (23 - bits);
    return half_bits_float((half_float_bits(x) + half) & ~(2 * half - 1));
}

/* Elements of A B beyond the bound of the dtype, when the factors have `bits` bits. */
static int outside(enum spmm_dtype dtype, int bits)
{
    struct pattern a = pattern_of(64, 200, 6, 1);
    const int n = 16, nnz = a.row_ptr[64];
    struct spmm_problem p = { .n = n, .dtype = dtype };
    float *val = malloc((size_t)nnz * sizeof *val), *b = malloc(200 * 16 * sizeof *b);
    double *want = malloc(64 * 16 * sizeof *want);
    float *bound = malloc(64 * 16 * sizeof *bound);
    int count = 0;
    for (int e = 0; e < nnz; e++)
        val[e] = uniform();
    for (int e = 0; e < 200 * n; e++)
        b[e] = uniform();
    spmm_describe(64, 200, a.row_ptr, &p);
    const struct spmm_matrix host = { a.row_ptr, a.col, NULL, val };
    CHECK(spmm_ref(&p, &host, b, want, bound) == OP_OK);
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int e = a.row_ptr[i]; e < a.row_ptr[i + 1]; e++)
                sum += (double)rounded(val[e], bits) * rounded(b[a.col[e] * n + j], bits);
            count += !(fabs(sum - want[i * n + j]) <= (double)bound[i * n + j]);
        }
    free(val);
    free(b);
    free(want);
    free(bound);
    pattern_free(&a);
    return count;
}

static void test_bound(void)
{
    CHECK(rounded(1.0f + 0x1p-11f, 11) == 1.0f + 0x1p-10f && rounded(1.0f + 0x1p-12f, 11) == 1.0f);
    CHECK(outside(SPMM_TF32, 11) == 0);
    CHECK(outside(SPMM_TF32, 22) == 0);
    CHECK(outside(SPMM_F32, 11) > 900);
    CHECK(outside(SPMM_TF32, 6) > 100); /* coarser factors do not pass */
}

int main(void)
{
    test_count();
    test_rule();
    test_slots();
    test_division();
    test_refusals();
    test_bound();
    return TEST_END();
}
