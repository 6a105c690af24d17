/*
 * test_spmm_own.c - the division of A among the own kernels: every entry and
 * every end of a row is in one chunk or piece, chunks are no larger than
 * promised, and the slots of shared rows follow each other.
 */
#include <stdlib.h>

#include "../kernels/spmm/own_plan.h"
#include "test.h"

/* ---- rows ---- */

static unsigned state = 1;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

static int none(int i) { return i - i; }
static int fives(int i) { return i >= 0 ? 5 : 0; }
static int ones_rarely(int i) { return i % 1000 == 17; }
static int one_heavy(int i) { return i == 40 ? 5000 : i % 3; }
static int last_heavy(int i) { return i == 99 ? 3001 : 0; }
static int all_long(int i) { return 700 + i % 7; }
static int neighbours(int i) { return i % 50 < 2 ? 1234 : 1; }
static int skewed(int i) { return i % 10 ? below(4) : below(10) ? below(60) : below(2000); }

static int (*const lengths[])(int) = { none,       fives,    ones_rarely, one_heavy,
                                       last_heavy, all_long, neighbours,  skewed };

static int *row_ptr_of(int m, int (*length)(int))
{
    int *row_ptr = malloc(((size_t)m + 1) * sizeof *row_ptr);
    row_ptr[0] = 0;
    for (int i = 0; i < m; i++)
        row_ptr[i + 1] = row_ptr[i] + length(i);
    return row_ptr;
}

/* ---- chunks ---- */

/* The bounds with their slots, in the order in which a single thread makes them. */
static int bounds_of(const int *row_ptr, int m, int chunks, int items, int whole,
                     struct own_bound *bound)
{
    int slots = 0;
    for (int c = 0; c <= chunks; c++) {
        int first, cuts;
        bound[c] = own_bound_at(row_ptr, m, (long long)c * items, whole);
        CHECK(bound[c].slot == -1);
        if (!own_bound_cuts(row_ptr, &bound[c]))
            continue;
        cuts = own_first_cut(row_ptr, bound[c].row, items, &first);
        CHECK(first <= c && c < first + cuts);
        bound[c].slot = first == c ? slots : bound[c - 1].slot + 1;
        slots += first == c ? cuts + 1 : 0;
    }
    return slots;
}

/* A bound lies on the begin of a row, or inside one that is long. */
static void check_bound(const int *row_ptr, int m, const struct own_bound *b, int whole)
{
    CHECK(b->row >= 0 && b->row <= m && b->entry >= row_ptr[b->row]);
    if (b->entry > row_ptr[b->row]) {
        CHECK(b->entry < row_ptr[b->row + 1]);
        CHECK(row_ptr[b->row + 1] - row_ptr[b->row] > whole);
        CHECK(b->slot >= 0);
    } else {
        CHECK(b->slot < 0);
    }
}

static void check_chunks(const int *row_ptr, int m, int items, int whole)
{
    const int nnz = row_ptr[m], chunks = (m + nnz + items - 1) / items;
    struct own_bound *bound = malloc(((size_t)chunks + 1) * sizeof *bound);
    int slots = bounds_of(row_ptr, m, chunks, items, whole, bound), used = 0;
    CHECK(bound[0].row == 0 && bound[0].entry == 0);
    CHECK(bound[chunks].row == m && bound[chunks].entry == nnz && bound[chunks].slot < 0);
    for (int c = 0; c <= chunks; c++)
        check_bound(row_ptr, m, &bound[c], whole);
    for (int c = 0; c < chunks; c++) {
        const struct own_bound *from = &bound[c], *to = &bound[c + 1];
        CHECK(from->row <= to->row && from->entry <= to->entry);
        CHECK(to->entry - from->entry <= items + whole);
        CHECK(to->row - from->row <= items + 1);
        if (from->row == to->row && from->slot >= 0) /* the whole chunk lies in one row */
            CHECK(to->slot == from->slot + 1);
        /* a piece ends at each cut, and one more where the row ends */
        used += (to->slot >= 0) + (from->slot >= 0 && to->row > from->row);
    }
    CHECK(used == slots);
    free(bound);
}

static void test_chunks(void)
{
    static const int rows[] = { 1, 2, 100, 2500 };
    static const int sizes[][2] = { { 1, 1 }, { 16, 32 }, { 64, 128 }, { 256, 512 }, { 383, 638 },
                                    { 1533, 512 }, { 100, 0 } };
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            int *row_ptr = row_ptr_of(rows[r], lengths[l]);
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                check_chunks(row_ptr, rows[r], sizes[s][0], sizes[s][1]);
            free(row_ptr);
        }
}

/* The drawing of own_plan.h. */
static void test_bounds_by_hand(void)
{
    static const int row_ptr[] = { 0, 3, 4, 4, 16, 18 };
    static const struct {
        int at, row, entry, cut;
    } want[] = { { 0, 0, 0, 0 },   { 1, 0, 0, 0 },   { 2, 1, 3, 0 },   { 5, 2, 4, 0 },
                 { 10, 3, 7, 1 },  { 15, 3, 12, 1 }, { 20, 4, 16, 0 }, { 23, 5, 18, 0 } };
    int first;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct own_bound b = own_bound_at(row_ptr, 5, want[i].at, 4);
        CHECK(b.row == want[i].row && b.entry == want[i].entry);
        CHECK(own_bound_cuts(row_ptr, &b) == want[i].cut);
    }
    CHECK(own_first_cut(row_ptr, 3, 5, &first) == 2 && first == 2);
}

/* Items beyond 2^31. */
static void test_large(void)
{
    static const int row_ptr[] = { 0, 2000000000, 2147483600 };
    const struct own_bound b = own_bound_at(row_ptr, 2, 2147483600LL, 64);
    int first;
    CHECK(b.row == 1 && b.entry == 2147483599);
    CHECK(own_bound_at(row_ptr, 2, 2147483601LL, 64).row == 2);
    CHECK(own_bound_at(row_ptr, 2, 2147483602LL, 64).row == 2);
    CHECK(own_first_cut(row_ptr, 0, 1 << 20, &first) == 1907 && first == 1);
}

/* ---- pieces ---- */

static void test_pieces(void)
{
    CHECK(own_pieces(0, 256) == 0 && own_pieces(256, 256) == 0);
    CHECK(own_pieces(257, 256) == 2 && own_pieces(512, 256) == 2 && own_pieces(513, 256) == 3);
    CHECK(own_pieces(2147483647, 256) == 8388608);
}

int main(void)
{
    test_bounds_by_hand();
    test_chunks();
    test_large();
    test_pieces();
    return TEST_END();
}
