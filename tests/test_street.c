/*
 * test_street.c - generated streets: the same for any number of threads, and their points, pillars,
 * windows and padding within 10 % of the values that the specification of these scenes gives.
 */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "../harness/error.h"
#include "../suites/data/alloc.h"
#include "../suites/data/pillars.h"
#include "../suites/data/street.h"
#include "test.h"

enum { SEEDS = 8, WINDOW = 12, ACROSS = PILLARS_SIDE / WINDOW };

struct counts {
    double points, cells, windows, padded, pairs, keys; /* padded: tokens of SST's buckets */
};

static void add(struct counts *sum, const struct pillars *v)
{
    int count[ACROSS * ACROSS] = { 0 };
    double windows = 0, tokens = 0, pairs = 0, exact = 0;
    for (int i = 0; i < v->n; i++)
        count[v->cell[i].y / WINDOW * ACROSS + v->cell[i].x / WINDOW]++;
    for (int i = 0; i < ACROSS * ACROSS; i++) {
        const int n = count[i], b = !n ? 0 : n < 30 ? 30 : n < 60 ? 60 : n < 100 ? 100 : 144;
        windows += n > 0;
        tokens += b;
        pairs += (double)b * b;
        exact += (double)n * n;
    }
    sum->points += (double)v->points / SEEDS;
    sum->cells += (double)v->n / SEEDS;
    sum->windows += windows / SEEDS;
    sum->padded += tokens / v->n / SEEDS;
    sum->pairs += pairs / exact / SEEDS;
    sum->keys += exact / v->n / SEEDS;
}

static void near(const char *what, int frames, double got, double want)
{
    const int ok = fabs(got / want - 1) < .10;
    CHECK(ok);
    if (!ok)
        printf("  %d frames, %s: %g, wanted %g\n", frames, what, got, want);
}

static void try_statistics(void)
{
    static const struct counts want[] = { { 178800, 17200, 725.8, 1.871, 1.890, 63.31 },
                                          { 357600, 23670, 775, 1.651, 1.711, 71.45 },
                                          { 536400, 28280, 809, 1.552, 1.610, 76.61 } };
    for (int frames = 1; frames <= 3; frames++) {
        struct counts got = { 0 };
        const struct counts *w = &want[frames - 1];
        for (int seed = 0; seed < SEEDS; seed++) {
            struct pillars v;
            CHECK(!pillars_generate(frames, (uint64_t)seed, 0, &v));
            CHECK(v.n > 8000 && v.n < 40000);
            if (v.n)
                add(&got, &v);
            pillars_free(&v);
        }
        near("points", frames, got.points, w->points);
        near("pillars", frames, got.cells, w->cells);
        near("windows", frames, got.windows, w->windows);
        near("padded tokens", frames, got.padded, w->padded);
        near("padded pairs", frames, got.pairs, w->pairs);
        near("keys", frames, got.keys, w->keys);
    }
}

static void try_threads(void)
{
    struct points a, b;
    omp_set_num_threads(1);
    CHECK(!street_generate(5, 1, 1, &a));
    omp_set_num_threads(3);
    CHECK(!street_generate(5, 1, 1, &b));
    const size_t bytes = (size_t)a.n * STREET_CHANNELS * sizeof *a.v;
    CHECK(a.n == b.n && !memcmp(a.v, b.v, bytes));
    points_free(&b);
    CHECK(!street_generate(6, 1, 1, &b) && (a.n != b.n || memcmp(a.v, b.v, bytes)));
    points_free(&b);
    /* frames are independent of those before: frame 1 alone is the second half of 0 and 1 */
    CHECK(!street_generate(5, 0, 2, &b) && b.n > a.n);
    if (b.n > a.n)
        CHECK(!memcmp(a.v, b.v + (b.n - a.n) * STREET_CHANNELS, bytes));
    points_free(&b);
    points_free(&a);
    CHECK(street_generate(5, 11, 2, &a) == -1 && !a.v && strstr(cb_error_text(), "0 to 11"));
}

/* An exact number of pillars, fewer and more than a frame has, each cell once and in raster order. */
static void try_number(int want)
{
    struct pillars v;
    CHECK(!pillars_generate(1, 2, want, &v) && v.n == want);
    for (int i = 1; i < v.n; i++)
        CHECK(v.cell[i].y * PILLARS_SIDE + v.cell[i].x > v.cell[i - 1].y * PILLARS_SIDE + v.cell[i - 1].x);
    pillars_free(&v);
}

/* Each allocation fails in turn; nothing is left behind. */
static void try_memory(void)
{
    const long live = data_alloc_live();
    for (long n = 1; n < 12; n += 2) {
        struct points p;
        data_alloc_fail_at(n);
        CHECK(street_generate(1, 0, 1, &p) == -1 && !p.v);
        CHECK(data_alloc_live() == live);
    }
    data_alloc_fail_at(0);
}

/* Edges of the grid, and cells by the arithmetic in float. */
static void try_cells(void)
{
    const struct pillar_grid *g = &pillars_waymo;
    CHECK(pillar_cell(g, -74.88f, -74.88f, 0) == 0);
    CHECK(pillar_cell(g, 74.87f, 74.87f, 0) == 468 * 468 - 1);
    CHECK(pillar_cell(g, 74.88f, 0, 0) == -1 && pillar_cell(g, 0, -74.89f, 0) == -1);
    CHECK(pillar_cell(g, 0, 0, -1.999f) == -1 && pillar_cell(g, 0, 0, 3.999f) == -1);
    CHECK(pillar_cell(g, NAN, 0, 0) == -1 && pillar_cell(g, 0, 0, NAN) == -1);
    CHECK(pillar_cell(g, .01f, -.01f, 0) == 233 * 468 + 234);
    for (int i = 0; i < 468; i++) {
        const float x = pillar_centre(g, i);
        CHECK(pillar_cell(g, x, -x, 0) == (467 - i) * 468 + i);
    }
}

int main(void)
{
    try_cells();
    try_threads();
    try_memory();
    try_number(5000);
    try_number(60000);
    try_statistics();
    return TEST_END();
}
