/*
 * ref.c - pillars and their vectors by the definition, in double, and how far a result may lie
 * from it.
 *
 * Rounding errors that are allowed for, to first order, u = 2^-24:
 *
 *     v     coordinates less means: the mean of n numbers in float, in any order
 *     h1    4 u sqrt(12) of the magnitude of its sum, then stored in half
 *     h2    errors of h1 and m1 through |W2|; the sum; stored in half
 *     loose both products with factors of 11 bits, cut off
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pillar.h"

enum { CELLS_MAX = 1 << 20, POINTS_MOST = 1 << 26 };

enum op_status pillar_check(const struct pillar_problem *p)
{
    const struct pillar_grid *g = &p->grid;
    if (p->points < 1 || p->points > POINTS_MOST || g->side < 1 ||
        (int64_t)g->side * g->side > CELLS_MAX || !(g->size > 0))
        return OP_EINVAL;
    return OP_OK;
}

int pillar_most(const struct pillar_problem *p)
{
    const int cells = p->grid.side * p->grid.side;
    return p->points < cells ? p->points : cells;
}

/* ---- points by pillar ---- */

struct sorted {
    int *start; /* [n + 1] */
    int *point; /* by pillar, in ascending order within */
};

static void sorted_free(struct sorted *s)
{
    free(s->start);
    free(s->point);
}

static int cell_of(const struct pillar_problem *p, const float *in, int i)
{
    const float *v = in + (size_t)i * PILLAR_IN;
    return pillar_cell(&p->grid, v[0], v[1], v[2]);
}

/* Cells with points in ascending order into w; points of each into s. */
static enum op_status sort(const struct pillar_problem *p, const float *in, struct pillar_want *w,
                           struct sorted *s)
{
    const int side = p->grid.side, cells = side * side;
    int *at = calloc((size_t)cells, sizeof *at);
    *s = (struct sorted){ malloc(((size_t)pillar_most(p) + 1) * sizeof *s->start),
                          malloc((size_t)p->points * sizeof *s->point) };
    w->cell = malloc((size_t)pillar_most(p) * sizeof *w->cell);
    if (!at || !s->start || !s->point || !w->cell) {
        free(at);
        return OP_ENOMEM;
    }
    for (int i = 0; i < p->points; i++) {
        const int c = cell_of(p, in, i);
        if (c >= 0)
            at[c]++;
    }
    for (int c = 0; c < cells; c++) {
        const int n = at[c];
        at[c] = (int)w->points;
        if (!n)
            continue;
        w->cell[w->n] = (struct flatten_cell){ c % side, c / side };
        s->start[w->n++] = (int)w->points;
        w->points += n;
        w->fullest = n > w->fullest ? n : w->fullest;
    }
    s->start[w->n] = (int)w->points;
    for (int i = 0; i < p->points; i++) {
        const int c = cell_of(p, in, i);
        if (c >= 0)
            s->point[at[c]++] = i;
    }
    free(at);
    return OP_OK;
}

/* ---- one pillar ---- */

/* A number with what a result may differ from it by. */
struct about {
    double value, bound, loose;
};

struct pillar {
    const struct pillar_problem *p;
    const struct pillar_args *a;
    const double *w2; /* [2 PILLAR_HIDDEN][PILLAR_OUT]: transposed */
    const int *point;
    int points;
    double mean[3], middle[3], mean_bound;
};

static void start_pillar(struct pillar *q, struct flatten_cell c)
{
    double sum[3] = { 0 }, most = 0;
    for (int i = 0; i < q->points; i++)
        for (int k = 0; k < 3; k++) {
            const double x = q->a->in[(size_t)q->point[i] * PILLAR_IN + k];
            sum[k] += x;
            most = fabs(x) > most ? fabs(x) : most;
        }
    for (int k = 0; k < 3; k++)
        q->mean[k] = sum[k] / q->points;
    q->middle[0] = (c.x + .5) * q->p->grid.size + q->p->grid.low;
    q->middle[1] = (c.y + .5) * q->p->grid.size + q->p->grid.low;
    q->middle[2] = q->p->grid.z_middle;
    q->mean_bound = 4 * 0x1p-24 * (1 + sqrt(q->points)) * (most + 1);
}

/* relu of a sum with these terms; length: how many. */
static struct about rectified(double sum, double magnitude, double inherited, double loose,
                              double length)
{
    const double value = sum > 0 ? sum : 0;
    const double own = 4 * 0x1p-24 * sqrt(length) * magnitude + 4 * 0x1p-11 * fmax(value, 0x1p-14);
    return (struct about){ value, inherited + own, loose + own };
}

static void hidden(const struct pillar *q, int point, struct about h1[PILLAR_HIDDEN])
{
    const float *x = q->a->in + (size_t)point * PILLAR_IN;
    const double grid_bound = 4 * 0x1p-24 * (fabs(q->p->grid.low) + 1);
    double v[PILLAR_RAW], off[PILLAR_RAW] = { 0 };
    for (int k = 0; k < PILLAR_IN; k++)
        v[k] = x[k];
    for (int k = 0; k < 3; k++) {
        v[5 + k] = v[k] - q->mean[k];
        v[8 + k] = v[k] - q->middle[k];
        off[5 + k] = q->mean_bound;
        off[8 + k] = grid_bound;
    }
    for (int o = 0; o < PILLAR_HIDDEN; o++) {
        double sum = q->a->b1[o], magnitude = fabs(sum), inherited = 0;
        for (int k = 0; k < PILLAR_RAW; k++) {
            const double w = q->a->w1[o * PILLAR_RAW + k];
            sum += w * v[k];
            magnitude += fabs(w * v[k]);
            inherited += fabs(w) * off[k];
        }
        h1[o] = rectified(sum, magnitude, inherited, inherited + 2 * 0x1p-10 * magnitude,
                          PILLAR_RAW + 1);
    }
}

static void raise(struct about *most, const struct about *x)
{
    most->value = fmax(most->value, x->value);
    most->bound = fmax(most->bound, x->bound);
    most->loose = fmax(most->loose, x->loose);
}

/* Sums of products of one half of W2's columns, and of the four magnitudes that bounds need. */
struct sums {
    double sum[PILLAR_OUT], magnitude[PILLAR_OUT], bound[PILLAR_OUT], loose[PILLAR_OUT];
};

static void multiply(const struct pillar *q, int from, const struct about h[PILLAR_HIDDEN],
                     struct sums *s)
{
    for (int k = 0; k < PILLAR_HIDDEN; k++) {
        const double *w = q->w2 + (size_t)(from + k) * PILLAR_OUT;
        if (h[k].value == 0 && h[k].bound == 0)
            continue;
        for (int o = 0; o < PILLAR_OUT; o++) {
            const double size = fabs(w[o]);
            s->sum[o] += w[o] * h[k].value;
            s->magnitude[o] += size * h[k].value;
            s->bound[o] += size * h[k].bound;
            s->loose[o] += size * h[k].loose;
        }
    }
}

static void finish_pillar(const struct pillar *q, struct about (*h1)[PILLAR_HIDDEN], double *out,
                          float *bound, float *loose)
{
    struct about m1[PILLAR_HIDDEN] = { { 0 } }, most[PILLAR_OUT] = { { 0 } };
    struct sums shared = { .sum = { 0 } };
    for (int i = 0; i < q->points; i++) {
        hidden(q, q->point[i], h1[i]);
        for (int k = 0; k < PILLAR_HIDDEN; k++)
            raise(&m1[k], &h1[i][k]);
    }
    multiply(q, PILLAR_HIDDEN, m1, &shared); /* the same for all points of the pillar */
    for (int i = 0; i < q->points; i++) {
        struct sums s = shared;
        multiply(q, 0, h1[i], &s);
        for (int o = 0; o < PILLAR_OUT; o++) {
            const double size = s.magnitude[o] + fabs(q->a->b2[o]);
            const struct about h2 =
                rectified(s.sum[o] + q->a->b2[o], size, s.bound[o],
                          s.loose[o] + 2 * 0x1p-10 * size, 2 * PILLAR_HIDDEN + 1);
            raise(&most[o], &h2);
        }
    }
    for (int o = 0; o < PILLAR_OUT; o++) {
        out[o] = most[o].value;
        bound[o] = (float)most[o].bound;
        loose[o] = (float)most[o].loose;
    }
}

/* ---- all of them ---- */

static double *transposed(const half_bits *w2)
{
    double *t = malloc(2 * PILLAR_HIDDEN * PILLAR_OUT * sizeof *t);
    for (int o = 0; t && o < PILLAR_OUT; o++)
        for (int k = 0; k < 2 * PILLAR_HIDDEN; k++)
            t[k * PILLAR_OUT + o] = half_to_float(w2[o * 2 * PILLAR_HIDDEN + k]);
    return t;
}

static enum op_status values_of(const struct pillar_problem *p, const struct pillar_args *a,
                                const struct sorted *s, struct pillar_want *w)
{
    const size_t count = (size_t)w->n * PILLAR_OUT;
    double *w2 = transposed(a->w2);
    int failed = 0;
    w->out = malloc(count * sizeof *w->out + 1); /* + 1: no pillars are no failure */
    w->bound = malloc(count * sizeof *w->bound + 1);
    w->loose = malloc(count * sizeof *w->loose + 1);
    if (!w2 || !w->out || !w->bound || !w->loose) {
        free(w2);
        return OP_ENOMEM;
    }
#pragma omp parallel reduction(| : failed)
    {
        struct about(*h1)[PILLAR_HIDDEN] = malloc((size_t)(w->fullest + 1) * sizeof *h1);
        failed = !h1;
#pragma omp for schedule(dynamic, 16)
        for (int i = 0; i < w->n; i++) {
            struct pillar q = { .p = p, .a = a, .w2 = w2, .point = s->point + s->start[i],
                                .points = s->start[i + 1] - s->start[i] };
            const size_t at = (size_t)i * PILLAR_OUT;
            if (!h1)
                continue;
            start_pillar(&q, w->cell[i]);
            finish_pillar(&q, h1, w->out + at, w->bound + at, w->loose + at);
        }
        free(h1);
    }
    free(w2);
    return failed ? OP_ENOMEM : OP_OK;
}

enum op_status pillar_reference(const struct pillar_problem *p, const struct pillar_args *a,
                                int values, struct pillar_want *w)
{
    struct sorted s = { 0 };
    *w = (struct pillar_want){ 0 };
    enum op_status status = pillar_check(p);
    if (!status)
        status = sort(p, a->in, w, &s);
    if (!status && values)
        status = values_of(p, a, &s, w);
    sorted_free(&s);
    if (status)
        pillar_want_free(w);
    return status;
}

void pillar_want_free(struct pillar_want *w)
{
    free(w->cell);
    free(w->out);
    free(w->bound);
    free(w->loose);
    *w = (struct pillar_want){ 0 };
}

/* ---- the reference as an implementation ---- */

static enum op_status run_definition(const struct pillar_problem *p, const struct pillar_args *a,
                                     void *state, op_stream s)
{
    struct pillar_want w;
    (void)state, (void)s;
    const enum op_status status = pillar_reference(p, a, 1, &w);
    if (status)
        return status;
    *a->count = w.n;
    memcpy(a->cell, w.cell, (size_t)w.n * sizeof *w.cell);
    for (size_t i = 0; i < (size_t)w.n * PILLAR_OUT; i++)
        a->out[i] = half_from_float((float)w.out[i]);
    pillar_want_free(&w);
    return OP_OK;
}

const struct pillar_impl pillar_references[] = {
    { .base = { .name = "ref_pillar", .title = "definition, host", .origin = "definition in double",
                .role = OP_REFERENCE },
      .run = run_definition },
    { .base = { .name = NULL } },
};
