/*
 * test_spmm_own.c - the division of A among the own kernels: every entry and
 * every end of a row is in one chunk or piece, chunks are no larger than
 * promised, and the slots of shared rows follow each other; and the forms that the
 * rules choose are ones that the kernels have.
 */
#include <stdlib.h>

#include "../kernels/spmm/own_plan.h"
#include "../kernels/spmm/own_rules.h"
#include "../kernels/spmm/shape.h"
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
                                    { 1533, 512 }, { 100, 0 }, { 640, 320 }, { 80, 40 } };
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

/* ---- rules ---- */

/* What own_row.cu has compiled. */
static int row_form_exists(int n, const struct own_row_form *f)
{
    const int v = spmm_vector(n), e = f->teams;
    if (f->vectors == 2)
        return v == 4 && f->loads == 4 && e == 1 && f->lanes >= 4 && n % (8 * f->lanes) == 0;
    if (f->vectors != 1 || f->lanes * e > 32)
        return 0;
    if (f->loads == 8)
        return v == 4 && f->lanes >= 2 && f->lanes <= 8 &&
               (e == 1 || e == 32 / f->lanes || (e == 4 && f->lanes < 8));
    return f->loads == 4 && (f->lanes == 1 || e == 1 || e == 32 / f->lanes ||
                             (v == 4 && f->lanes < 8 && e == 4));
}

static int power_of_two(int x)
{
    return x > 0 && !(x & (x - 1));
}

static void check_rules(const struct spmm_problem *p, const struct spmm_locality *l)
{
    struct own_row_form row;
    struct own_merge_form merge;
    const int v = spmm_vector(p->n), room = 993;
    const long tile_y = spmm_div_up(p->n, 32);
    const int items = own_spmv_rule(p, room), scan_items = own_scan_rule(p, room);
    own_row_rule(p, l, &row);
    own_merge_rule(p, l, &merge);
    CHECK(power_of_two(row.lanes) && row.lanes <= 32 && power_of_two(row.teams));
    CHECK(row_form_exists(p->n, &row));
    CHECK(row.whole >= 64 && row.whole >= row.teams * 64);
    /* a tile no wider than it must be, and no more of them than a grid has */
    CHECK(row.lanes == 1 || row.lanes / 2 * v * row.vectors < p->n);
    CHECK(spmm_div_up(p->n, row.lanes * v * row.vectors) <= tile_y);
    CHECK(power_of_two(merge.lanes) && merge.lanes <= 32);
    CHECK(spmm_div_up(p->n, merge.lanes * v) <= tile_y);
    CHECK(merge.items >= 16 && merge.whole >= merge.items);
    CHECK(items >= 186 && items < room && room - items > 0);
    CHECK(scan_items >= 80 && scan_items + scan_items / 2 <= room);
}

static void test_rules(void)
{
    static const int ns[] = { 1,  2,  3,  4,  5,  6,  7,  8,   12,  16,  20,  31,  32,   33, 40,
                              48, 62, 64, 72, 96, 99, 100, 128, 192, 256, 320, 1000, 4096, 65536 };
    for (int i = 0; i < 20000; i++) {
        struct spmm_problem p = { .m = 1 + below(below(2) ? 3000 : 3000000),
                                  .k = 1 + below(3000000),
                                  .n = ns[below(sizeof ns / sizeof *ns)] };
        const struct spmm_locality l = { below(400) / 1000.0, below(1001) / 1000.0,
                                         below(1001) / 1000.0, below(1001) / 1000.0 };
        p.row_mean = below(below(3) ? 40 : 2000) / (1.0 + below(4));
        p.nnz = (long)(p.m * p.row_mean);
        p.row_sd = p.row_mean * below(300) / 100;
        p.row_max = (int)(p.row_mean * 3) + 1;
        check_rules(&p, &l);
    }
}

/* Forms of the sweep that the rules were made from. */
static void test_rules_by_hand(void)
{
    /* 26 points of a stencil; a random matrix whose B does not fit L2; the same skewed */
    const struct spmm_locality stencil = { 0.01, 0.65, 0.65, 0.75 }, random = { 0.33, 0, 0, 0 };
    struct spmm_problem p = { .m = 262144, .k = 262144, .n = 256, .nnz = 6859000,
                              .row_max = 27, .row_mean = 26.2, .row_sd = 2.7 };
    struct own_row_form f;
    struct own_merge_form g;
    own_row_rule(&p, &stencil, &f);
    CHECK(f.vectors == 2 && f.lanes == 32 && f.teams == 1);
    own_row_rule(&p, &random, &f);
    CHECK(f.vectors == 1 && f.lanes == 8); /* 32 columns of B are 34 MB */
    own_merge_rule(&p, &random, &g);
    CHECK(g.lanes == 8 && g.items == 128);
    p.n = 1;
    own_row_rule(&p, &stencil, &f);
    CHECK(f.lanes == 1 && f.teams == 8 && f.loads == 4);
    p.row_sd = 50;
    own_row_rule(&p, &random, &f);
    CHECK(f.teams == 16);
    p.n = 8;
    p.row_mean = 98;
    own_row_rule(&p, &stencil, &f);
    CHECK(f.lanes == 2 && f.teams == 4 && f.loads == 8);
    CHECK(own_spmv_rule(&p, 993) == 745);
    CHECK(own_scan_rule(&p, 993) == 320);
    p.m = 100;
    p.nnz = 1000;
    CHECK(own_spmv_rule(&p, 993) == 186);
    CHECK(own_scan_rule(&p, 993) == 80);
}

int main(void)
{
    test_rules();
    test_rules_by_hand();
    test_bounds_by_hand();
    test_chunks();
    test_large();
    test_pieces();
    return TEST_END();
}
