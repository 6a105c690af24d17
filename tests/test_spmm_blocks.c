/*
 * test_spmm_blocks.c - A in square blocks: their number against a naive count, the order of sizes,
 * the limit of fill, and that both formats hold every value of A and nothing else: a product by
 * the definition of each format is that of CSR, and is not with a value in another place.
 */
#include <stdlib.h>

#include "../baselines/spmm_blocks.h"
#include "test.h"

static unsigned state = 1;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

struct sparse {
    int m, k, *row_ptr, *col, *row;
    float *val;
    struct spmm_problem p;
};

/* One block of `block` columns and rows in `rare`, and one of its entries in `loose`; rows from
 * `full` on are empty. */
static struct sparse sparse_of(int m, int k, int block, int rare, int loose, int full)
{
    const size_t most = (size_t)m * (size_t)k + 1;
    struct sparse a = { m, k, malloc(((size_t)m + 1) * sizeof(int)), malloc(most * sizeof(int)),
                        malloc(most * sizeof(int)), malloc(most * sizeof(float)), { .n = 16 } };
    int nnz = 0;
    a.row_ptr[0] = 0;
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < k && i < full; j++) {
            state = (unsigned)(i / block * 7919 + j / block) * 2654435761u + 5;
            const int here = below(rare) == 0;
            state = (unsigned)(i * 31 + j) * 2246822519u + 1;
            if (!here || below(loose))
                continue;
            a.row[nnz] = i;
            a.col[nnz] = j;
            a.val[nnz++] = (float)(1 + below(7));
        }
        a.row_ptr[i + 1] = nnz;
    }
    spmm_describe(m, k, a.row_ptr, &a.p);
    CHECK(spmm_blocks_count(a.row_ptr, a.col, &a.p) == OP_OK);
    return a;
}

static void sparse_free(struct sparse *a)
{
    free(a->row_ptr);
    free(a->col);
    free(a->row);
    free(a->val);
}

/* ---- counting ---- */

static void check_count(const struct sparse *a)
{
    for (int i = 0; i < SPMM_SQUARES; i++) {
        const int s = spmm_block_size(i), fits = a->m % s == 0 && a->k % s == 0;
        long blocks = 0;
        int widest = 0;
        for (int line = 0; fits && line < a->m / s; line++) {
            int width = 0;
            for (int column = 0; column < a->k / s; column++) {
                int has = 0;
                for (int e = a->row_ptr[line * s]; e < a->row_ptr[(line + 1) * s]; e++)
                    has |= a->col[e] / s == column;
                width += has;
            }
            blocks += width;
            widest = width > widest ? width : widest;
        }
        CHECK(a->p.blocks[i] == blocks && a->p.widest[i] == widest);
    }
}

/* ---- formats ---- */

/* y = A x with all ones in x, from the stored values by the definition of the format. */
static void multiply(const struct sparse *a, const struct spmm_blocks *b, const float *values,
                     double *y)
{
    const int s = b->size;
    for (int i = 0; i < a->m; i++) {
        y[i] = 0;
        for (int place = b->ptr[i / s]; place < b->ptr[i / s + 1]; place++) {
            const int at = place - b->ptr[i / s];
            if (b->col[place] < 0)
                continue;
            for (int j = 0; j < s; j++) {
                const size_t bsr = ((size_t)place * (size_t)s + (size_t)(i % s)) * (size_t)s;
                const size_t bell = ((size_t)i * (size_t)b->width + (size_t)at) * (size_t)s;
                y[i] += (double)values[(b->width ? bell : bsr) + (size_t)j] *
                        (1 + (b->col[place] * s + j) % 5);
            }
        }
    }
}

static int same(const struct sparse *a, const double *y)
{
    int right = 0;
    for (int i = 0; i < a->m; i++) {
        double want = 0;
        for (int e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++)
            want += (double)a->val[e] * (1 + a->col[e] % 5);
        right += y[i] == want;
    }
    return right == a->m;
}

static void check_format(const struct sparse *a, enum spmm_blocked format, int index)
{
    struct spmm_blocks b;
    CHECK(spmm_blocks_make(&a->p, a->row_ptr, a->col, format, index, &b) == OP_OK);
    const int s = b.size;
    const size_t stored = (size_t)b.places * (size_t)s * (size_t)s;
    float *values = calloc(stored + 1, sizeof *values);
    double *y = malloc((size_t)a->m * sizeof *y);
    long places = 0, used = 0;
    CHECK(b.ptr[0] == 0 && b.ptr[a->m / s] == b.places);
    for (int line = 0; line < a->m / s; line++)
        for (int i = b.ptr[line]; i < b.ptr[line + 1]; i++) {
            places++;
            used += b.col[i] >= 0;
            CHECK(b.col[i] < a->k / s);
            if (i > b.ptr[line] && b.col[i] >= 0)
                CHECK(b.col[i - 1] >= 0 && b.col[i] > b.col[i - 1]);
        }
    CHECK(places == b.places && used == a->p.blocks[index]);
    for (long e = 0; e < a->p.nnz; e++) {
        const size_t slot = spmm_blocks_slot(&b, a->row[e], a->col[e]);
        CHECK(slot < stored && values[slot] == 0);
        values[slot] = a->val[e];
    }
    multiply(a, &b, values, y);
    CHECK(same(a, y));
    if (a->p.nnz) { /* one value elsewhere must be seen */
        const size_t slot = spmm_blocks_slot(&b, a->row[0], a->col[0]);
        const float value = values[slot];
        values[slot] = 0;
        values[(slot + 1) % stored] += value;
        multiply(a, &b, values, y);
        CHECK(!same(a, y));
    }
    free(values);
    free(y);
    spmm_blocks_free(&b);
}

static void test_formats(void)
{
    static const struct {
        int m, k, block, rare, loose, full;
    } shape[] = {
        { 192, 384, 16, 3, 1, 192 }, { 192, 384, 8, 6, 2, 150 },   { 64, 64, 64, 1, 3, 64 },
        { 96, 36, 3, 5, 1, 96 },     { 128, 640, 32, 30, 1, 128 }, { 7, 11, 1, 2, 1, 7 },
        { 64, 128, 1, 40, 1, 64 },   { 64, 64, 8, 2, 1, 0 },
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        struct sparse a = sparse_of(shape[i].m, shape[i].k, shape[i].block, shape[i].rare,
                                    shape[i].loose, shape[i].full);
        check_count(&a);
        for (int index = 0; index < SPMM_SQUARES; index++) {
            if (!a.p.blocks[index])
                continue;
            check_format(&a, SPMM_BSR, index);
            check_format(&a, SPMM_BELL, index);
        }
        sparse_free(&a);
    }
}

/* ---- order ---- */

static int first_size(const struct spmm_problem *p, enum spmm_blocked format)
{
    int index[SPMM_SQUARES];
    return spmm_blocks_order(p, format, index) ? spmm_block_size(index[0]) : 0;
}

static void test_order(void)
{
    struct sparse whole = sparse_of(768, 768, 32, 9, 1, 768), threes = sparse_of(768, 768, 3, 40, 1, 768);
    struct sparse single = sparse_of(768, 768, 1, 200, 1, 768), odd = sparse_of(77, 50, 1, 2, 1, 77);
    struct sparse one_row = sparse_of(64, 768, 1, 1, 1, 1);
    for (int d = SPMM_F32; d <= SPMM_TF32; d++) {
        whole.p.dtype = threes.p.dtype = single.p.dtype = (enum spmm_dtype)d;
        CHECK(first_size(&whole.p, SPMM_BSR) == 32 && first_size(&whole.p, SPMM_BELL) == 32);
        CHECK(first_size(&threes.p, SPMM_BSR) == 3);
        CHECK(first_size(&odd.p, SPMM_BSR) == 0 && first_size(&odd.p, SPMM_BELL) == 0);
        CHECK(first_size(&single.p, SPMM_BELL) == 0); /* more than 16 values an entry */
        CHECK(first_size(&single.p, SPMM_BSR) == 0);  /* more than 5 */
        CHECK(spmm_blocks_extra_bytes(&odd.p, SPMM_BSR) == 0 && spmm_blocks_ops(&odd.p, SPMM_BSR) == 0);
    }
    /* one full row: BSR stores 8 values an entry in blocks of 8, Blocked-ELL 64 in any */
    CHECK(one_row.p.blocks[2] == 96 && one_row.p.widest[2] == 96);
    CHECK(first_size(&one_row.p, SPMM_BSR) && first_size(&one_row.p, SPMM_BELL) == 0);
    /* of whole blocks nothing is fill: fewer bytes than CSR */
    CHECK(spmm_blocks_ops(&whole.p, SPMM_BSR) == 2.0 * (double)whole.p.nnz * whole.p.n);
    CHECK(spmm_blocks_extra_bytes(&whole.p, SPMM_BSR) < 0);
    sparse_free(&whole);
    sparse_free(&threes);
    sparse_free(&single);
    sparse_free(&odd);
    sparse_free(&one_row);
}

/* ---- which problems ---- */

static void test_rows(void)
{
    struct sparse a = sparse_of(256, 256, 16, 4, 1, 256);
    const char *why = NULL;
    const struct spmm_impl *bsr = spmm_find("cusparse_bsr_rm"), *bell = spmm_find("cusparse_bell_rm");
    CHECK(bsr && bell && !bsr->tensor_ops && bell->tensor_ops);
    CHECK(bsr->supports(&a.p, &why) == OP_OK);
    CHECK(bell->supports(&a.p, &why) == OP_EUNSUPPORTED && strstr(why, "TF32"));
    a.p.dtype = SPMM_TF32;
    CHECK(bell->supports(&a.p, &why) == OP_OK);
    a.p.n = 7;
    CHECK(bell->supports(&a.p, &why) == OP_EUNSUPPORTED && strstr(why, "16 bytes"));
    CHECK(bsr->supports(&a.p, &why) == OP_OK);
    memset(a.p.blocks, 0, sizeof a.p.blocks);
    CHECK(bsr->supports(&a.p, &why) == OP_EUNSUPPORTED);
    sparse_free(&a);
}

int main(void)
{
    test_formats();
    test_order();
    test_rows();
    return TEST_END();
}
