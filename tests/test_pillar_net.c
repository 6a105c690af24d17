/*
 * test_pillar_net.c - the reference of pillars against sums written out, on pillars that can be
 * followed by hand: cells, order, means, both maxima; points outside; bounds that a wrong result
 * breaks.
 */
#include <math.h>
#include <stdlib.h>

#include "../kernels/pillar/pillar.h"
#include "../suites/data/build.h"
#include "../suites/data/pillars.h"
#include "test.h"

struct model {
    float w1[PILLAR_HIDDEN * PILLAR_RAW], b1[PILLAR_HIDDEN], b2[PILLAR_OUT];
    half_bits w2[PILLAR_OUT * 2 * PILLAR_HIDDEN];
};

static float unit(uint64_t seed, int i)
{
    return data_value(seed, i, 7);
}

static void draw(struct model *m, uint64_t seed)
{
    for (int i = 0; i < PILLAR_HIDDEN * PILLAR_RAW; i++)
        m->w1[i] = .3f * unit(seed, i);
    for (int i = 0; i < PILLAR_HIDDEN; i++)
        m->b1[i] = .5f * unit(seed + 1, i);
    for (int i = 0; i < PILLAR_OUT * 2 * PILLAR_HIDDEN; i++)
        m->w2[i] = half_from_float(.15f * unit(seed + 2, i));
    for (int i = 0; i < PILLAR_OUT; i++)
        m->b2[i] = .5f * unit(seed + 3, i);
}

static struct pillar_args args_of(const struct model *m, const float *in)
{
    return (struct pillar_args){ .in = in, .w1 = m->w1, .b1 = m->b1, .w2 = m->w2, .b2 = m->b2 };
}

/* The definition once more, point by point and without sharing; points of one pillar, n of them. */
static void by_hand(const struct model *m, const struct pillar_grid *g, const float *in, int n,
                    struct flatten_cell c, double out[PILLAR_OUT])
{
    double mean[3] = { 0 }, h1[8][PILLAR_HIDDEN], m1[PILLAR_HIDDEN] = { 0 };
    const double o[3] = { (c.x + .5) * g->size + g->low, (c.y + .5) * g->size + g->low, g->z_middle };
    for (int i = 0; i < n; i++)
        for (int a = 0; a < 3; a++)
            mean[a] += in[i * 5 + a] / (double)n;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < PILLAR_HIDDEN; k++) {
            const float *w = m->w1 + k * PILLAR_RAW;
            double s = m->b1[k];
            for (int a = 0; a < 5; a++)
                s += w[a] * (double)in[i * 5 + a];
            for (int a = 0; a < 3; a++)
                s += w[5 + a] * (in[i * 5 + a] - mean[a]) + w[8 + a] * (in[i * 5 + a] - o[a]);
            h1[i][k] = fmax(s, 0);
            m1[k] = fmax(m1[k], h1[i][k]);
        }
    for (int q = 0; q < PILLAR_OUT; q++) {
        out[q] = 0;
        for (int i = 0; i < n; i++) {
            double s = m->b2[q];
            for (int k = 0; k < PILLAR_HIDDEN; k++) {
                s += half_to_float(m->w2[q * 128 + k]) * h1[i][k];
                s += half_to_float(m->w2[q * 128 + 64 + k]) * m1[k];
            }
            out[q] = fmax(out[q], s);
        }
    }
}

static void try_three(void)
{
    /* given out of order: two points in the cell (234, 234), three in (233, 234), one in (10, 5),
     * and four in none */
    static const float in[] = { .1f, .1f, .5f, .2f, .3f,      -.2f, .2f, 1, .1f, 0,
                                -71.6f, -73.2f, 2, .9f, .1f,  .2f, .3f, 3.5f, .4f, .5f,
                                -.01f, .01f, -1, .7f, .1f,    -.3f, .1f, 0, .3f, .3f,
                                80, 0, 0, 0, 0,               0, 0, 4, 0, 0,
                                0, -74.9f, 0, 0, 0,           0, 0, -1.999f, 0, 0 };
    static const int rows[3][3] = { { 2 }, { 1, 4, 5 }, { 0, 3 } }, count[3] = { 1, 3, 2 };
    static const struct flatten_cell cells[3] = { { 10, 5 }, { 233, 234 }, { 234, 234 } };
    const struct pillar_problem p = { 10, pillars_waymo };
    static struct model m;
    struct pillar_want w;
    draw(&m, 1);
    const struct pillar_args a = args_of(&m, in);
    CHECK(pillar_reference(&p, &a, 1, &w) == OP_OK);
    CHECK(w.n == 3 && w.points == 6 && w.fullest == 3);
    for (int i = 0; i < w.n && i < 3; i++) {
        float of[15];
        double out[PILLAR_OUT];
        CHECK(w.cell[i].x == cells[i].x && w.cell[i].y == cells[i].y);
        for (int k = 0; k < count[i]; k++)
            memcpy(of + 5 * k, in + 5 * rows[i][k], 5 * sizeof *of);
        by_hand(&m, &p.grid, of, count[i], cells[i], out);
        for (int q = 0; q < PILLAR_OUT; q++)
            CHECK_NEAR(w.out[i * PILLAR_OUT + q], out[q], 1e-9);
    }
    pillar_want_free(&w);
}

/* The row of the table writes the same pillars, in half; rows behind the last are left alone. */
static void try_row(void)
{
    enum { N = 3000 };
    static float in[N * 5];
    static struct model m;
    static struct flatten_cell cell[N];
    static half_bits out[N * PILLAR_OUT];
    struct pillar_want w;
    int32_t count = -1;
    struct pillar_problem p = { N, pillars_waymo };
    draw(&m, 9);
    for (int i = 0; i < N * 5; i++)
        in[i] = (i % 5 < 2 ? 12 : i % 5 == 2 ? 2 : 1) * unit(20, i);
    memset(out, 0xee, sizeof out);
    struct pillar_args a = args_of(&m, in);
    a.count = &count;
    a.cell = cell;
    a.out = out;
    CHECK(pillar_references[0].run(&p, &a, NULL, NULL) == OP_OK);
    CHECK(pillar_reference(&p, &a, 1, &w) == OP_OK);
    CHECK(count == w.n && w.n > 500 && !memcmp(cell, w.cell, (size_t)w.n * sizeof *cell));
    long bad = 0, planted = 0;
    for (long i = 0; i < (long)w.n * PILLAR_OUT; i++) {
        const double got = half_to_float(out[i]);
        bad += !(fabs(got - w.out[i]) <= w.bound[i]) || w.loose[i] < w.bound[i];
        planted += fabs(got * 1.05 + .05 - w.out[i]) > w.bound[i];
    }
    CHECK(bad == 0);
    CHECK(planted > (long)w.n * PILLAR_OUT * 9 / 10); /* bounds are not so wide that all passes */
    for (int i = w.n * PILLAR_OUT; i < N * PILLAR_OUT; i++)
        bad += out[i] != 0xeeee;
    CHECK(bad == 0);
    /* pillars in ascending order, each point's among them */
    for (int i = 1; i < w.n; i++)
        CHECK(cell[i].y * 468 + cell[i].x > cell[i - 1].y * 468 + cell[i - 1].x);
    pillar_want_free(&w);
    p.points = 0;
    CHECK(pillar_reference(&p, &a, 0, &w) == OP_EINVAL && !w.cell);
    p.points = N;
    p.grid.side = 2000;
    CHECK(pillar_reference(&p, &a, 0, &w) == OP_EINVAL);
    p.grid = pillars_waymo;
    for (int i = 0; i < N; i++)
        in[i * 5] = 100; /* nothing in the grid */
    CHECK(pillar_reference(&p, &a, 1, &w) == OP_OK && !w.n);
    pillar_want_free(&w);
}

/* The pillars of a street are those that pillars_of finds. */
static void try_street(void)
{
    struct pillars v;
    CHECK(!pillars_generate(1, 4, 0, &v));
    float *in = calloc((size_t)v.n, 5 * sizeof *in);
    for (int i = 0; in && i < v.n; i++) {
        in[5 * i] = pillar_centre(&pillars_waymo, v.cell[i].x);
        in[5 * i + 1] = pillar_centre(&pillars_waymo, v.cell[i].y);
    }
    const struct pillar_problem p = { v.n, pillars_waymo };
    const struct pillar_args a = { .in = in };
    struct pillar_want w;
    CHECK(in && pillar_reference(&p, &a, 0, &w) == OP_OK && w.n == v.n);
    CHECK(!memcmp(w.cell, v.cell, (size_t)v.n * sizeof *v.cell));
    pillar_want_free(&w);
    pillars_free(&v);
    free(in);
}

int main(void)
{
    try_three();
    try_row();
    try_street();
    return TEST_END();
}
