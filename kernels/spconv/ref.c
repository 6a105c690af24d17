/* ref.c - sparse convolution and its gradients by their definition, on the host. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../common/half.h"
#include "bound.h"

struct spconv_size spconv_result(const struct spconv_problem *p)
{
    switch (p->pass) {
    case SPCONV_FORWARD: return (struct spconv_size){ p->out, p->cout };
    case SPCONV_DGRAD: return (struct spconv_size){ p->in, p->cin };
    case SPCONV_WGRAD: return (struct spconv_size){ (long)p->taps * p->cin, p->cout };
    }
    return (struct spconv_size){ 0, 0 };
}

static double load(const void *x, enum spconv_dtype t, size_t i)
{
    return t == SPCONV_F16 ? half_to_float(((const half_bits *)x)[i]) : ((const float *)x)[i];
}

/* Adds the terms of one row of the result; returns how many each element has. */
static double row_terms(const struct spconv_problem *p, const struct spconv_args *a, long row,
                        double *want, double *magnitude)
{
    const struct spconv_map *m = &a->map;
    const int cin = p->cin, cout = p->cout;
    double terms = 0;
    if (p->pass == SPCONV_WGRAD) {
        const long d = row / cin;
        for (long e = m->start[d]; e < m->start[d + 1]; e++) {
            const double x = load(a->x, p->dtype, (size_t)m->pair_in[e] * cin + row % cin);
            for (int c = 0; c < cout; c++) {
                const double v = x * load(a->g, p->dtype, (size_t)m->pair_out[e] * cout + c);
                want[c] += v;
                magnitude[c] += fabs(v);
            }
        }
        return m->start[d + 1] - m->start[d];
    }
    const int forward = p->pass == SPCONV_FORWARD;
    const int inner = forward ? cin : cout, columns = forward ? cout : cin;
    const int32_t *partner = (forward ? m->by_out : m->by_in) + (size_t)row * p->taps;
    for (int d = 0; d < p->taps; d++) {
        if (partner[d] < 0)
            continue;
        for (int i = 0; i < inner; i++) {
            const double x = load(forward ? a->x : a->g, p->dtype, (size_t)partner[d] * inner + i);
            for (int c = 0; c < columns; c++) {
                const size_t w = forward ? ((size_t)d * cin + i) * cout + c
                                         : ((size_t)d * cin + c) * cout + i;
                const double v = x * load(a->w, p->dtype, w);
                want[c] += v;
                magnitude[c] += fabs(v);
            }
        }
        terms += inner;
    }
    return terms;
}

static int meaningless(const struct spconv_problem *p)
{
    return p->in < 1 || p->out < 1 || p->cin < 1 || p->cout < 1 || p->taps < 1 ||
           p->taps > SPCONV_TAPS_MAX;
}

enum op_status spconv_ref(const struct spconv_problem *p, const struct spconv_args *a, double *want,
                          float *bound, float *loose)
{
    const struct spconv_size size = spconv_result(p);
    int failed = 0;
    if (meaningless(p))
        return OP_EINVAL;
#pragma omp parallel reduction(| : failed)
    {
        double *magnitude = malloc((size_t)size.columns * sizeof *magnitude);
        failed = !magnitude;
#pragma omp for schedule(dynamic, 16)
        for (long i = 0; i < size.rows; i++) {
            double *row = want + i * size.columns;
            if (!magnitude)
                continue;
            for (long c = 0; c < size.columns; c++)
                row[c] = magnitude[c] = 0;
            const double terms = row_terms(p, a, i, row, magnitude);
            for (long c = 0; c < size.columns; c++)
                spconv_bounds(p, terms, row[c], magnitude[c], bound + i * size.columns + c,
                              loose + i * size.columns + c);
        }
        free(magnitude);
    }
    return failed ? OP_ENOMEM : OP_OK;
}

const struct spconv_impl *spconv_find(const char *name)
{
    const struct spconv_impl *const table[] = { spconv_references, spconv_kernels,
                                                spconv_baselines };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++)
        for (const struct spconv_impl *i = table[t]; i->base.name; i++)
            if (!strcmp(i->base.name, name))
                return i;
    return NULL;
}

/* ---- the reference as an implementation ---- */

static enum op_status all(const struct spconv_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static enum op_status run_definition(const struct spconv_problem *p, const struct spconv_args *a,
                                     void *state, op_stream s)
{
    const struct spconv_size size = spconv_result(p);
    const int half_out = p->dtype == SPCONV_F16 && p->pass != SPCONV_WGRAD;
    int failed = 0;
    (void)state, (void)s;
    if (meaningless(p))
        return OP_EINVAL;
#pragma omp parallel reduction(| : failed)
    {
        double *sum = calloc((size_t)size.columns * 2, sizeof *sum);
        failed = !sum;
#pragma omp for schedule(dynamic, 16)
        for (long i = 0; i < size.rows; i++) {
            if (!sum)
                continue;
            memset(sum, 0, (size_t)size.columns * sizeof *sum);
            row_terms(p, a, i, sum, sum + size.columns);
            for (long c = 0; c < size.columns; c++)
                if (half_out)
                    ((half_bits *)a->y)[i * size.columns + c] = half_from_float((float)sum[c]);
                else
                    ((float *)a->y)[i * size.columns + c] = (float)sum[c];
        }
        free(sum);
    }
    return failed ? OP_ENOMEM : OP_OK;
}

const struct spconv_impl spconv_references[] = {
    { .base = { .name = "ref_map", .title = "definition in double", .origin = "definition",
                .role = OP_REFERENCE },
      .supports = all, .run = run_definition },
    { .base = { .name = NULL } },
};
