/* ref.c - C = A B by its definition, on the host; the search for a row by name. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../common/half.h"
#include "bound.h"

void spmm_describe(int m, int k, const int *row_ptr, struct spmm_problem *p)
{
    double squares = 0;
    p->m = m;
    p->k = k;
    p->nnz = row_ptr[m];
    p->row_mean = (double)p->nnz / m;
    p->row_max = p->empty_rows = 0;
    for (int i = 0; i < m; i++) {
        const int length = row_ptr[i + 1] - row_ptr[i];
        const double off = length - p->row_mean;
        if (length > p->row_max)
            p->row_max = length;
        p->empty_rows += length == 0;
        squares += off * off;
    }
    p->row_sd = sqrt(squares / m);
}

static double load(const void *x, enum spmm_dtype t, size_t i)
{
    return t == SPMM_F16 ? half_to_float(((const half_bits *)x)[i]) : ((const float *)x)[i];
}

double spmm_ref_at(const struct spmm_problem *p, const struct spmm_matrix *a, const float *b, int i,
                   int j, double *magnitude)
{
    const float *val = a->val;
    double sum = 0;
    *magnitude = 0;
    for (int e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++) {
        const double product = (double)val[e] * b[(size_t)a->col[e] * p->n + j];
        sum += product;
        *magnitude += fabs(product);
    }
    return sum;
}

/* Row i of C and of |A| |B|. */
static void row_sums(const struct spmm_problem *p, const struct spmm_matrix *a, const void *b,
                     int i, double *want, double *magnitude)
{
    for (int j = 0; j < p->n; j++)
        want[j] = magnitude[j] = 0;
    for (int e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++) {
        const double value = load(a->val, p->dtype, (size_t)e);
        const size_t first = (size_t)a->col[e] * p->n;
        for (int j = 0; j < p->n; j++) {
            const double product = value * load(b, p->dtype, first + j);
            want[j] += product;
            magnitude[j] += fabs(product);
        }
    }
}

enum op_status spmm_ref(const struct spmm_problem *p, const struct spmm_matrix *a, const void *b,
                        double *want, float *bound)
{
    int failed = 0;
    if (p->m < 1 || p->k < 1 || p->n < 1)
        return OP_EINVAL;
#pragma omp parallel reduction(| : failed)
    {
        double *magnitude = malloc((size_t)p->n * sizeof *magnitude);
        failed = !magnitude;
#pragma omp for schedule(dynamic, 64)
        for (int i = 0; i < p->m; i++) {
            const size_t first = (size_t)i * p->n;
            if (!magnitude)
                continue;
            row_sums(p, a, b, i, want + first, magnitude);
            for (int j = 0; j < p->n; j++)
                bound[first + j] = spmm_bound(p->dtype, a->row_ptr[i + 1] - a->row_ptr[i],
                                              want[first + j], magnitude[j]);
        }
        free(magnitude);
    }
    return failed ? OP_ENOMEM : OP_OK;
}

const struct spmm_impl *spmm_find(const char *name)
{
    const struct spmm_impl *const table[] = { spmm_references, spmm_kernels, spmm_baselines };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++)
        for (const struct spmm_impl *i = table[t]; i->base.name; i++)
            if (!strcmp(i->base.name, name))
                return i;
    return NULL;
}

/* ---- the reference as an implementation ---- */

enum { PANEL = 64 }; /* columns at a time: their sums stay in registers and L1 */

static enum op_status all(const struct spmm_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static enum op_status run_csr(const struct spmm_problem *p, const struct spmm_args *args,
                              void *state, op_stream s)
{
    const struct spmm_matrix *a = &args->a;
    (void)state, (void)s;
#pragma omp parallel for schedule(dynamic, 64)
    for (int i = 0; i < p->m; i++)
        for (int j0 = 0; j0 < p->n; j0 += PANEL) {
            const int columns = p->n - j0 < PANEL ? p->n - j0 : PANEL;
            double sum[PANEL] = { 0 };
            for (int e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++) {
                const double value = load(a->val, p->dtype, (size_t)e);
                const size_t first = (size_t)a->col[e] * p->n + j0;
                for (int j = 0; j < columns; j++)
                    sum[j] += value * load(args->b, p->dtype, first + j);
            }
            for (int j = 0; j < columns; j++) {
                const size_t at = (size_t)i * p->n + j0 + j;
                if (p->dtype == SPMM_F16)
                    ((half_bits *)args->c)[at] = half_from_float((float)sum[j]);
                else
                    ((float *)args->c)[at] = (float)sum[j];
            }
        }
    return OP_OK;
}

const struct spmm_impl spmm_references[] = {
    { .base = { .name = "ref_csr", .title = "CSR in double", .origin = "definition",
                .role = OP_REFERENCE, .layout = "row" },
      .supports = all, .run = run_csr },
    { .base = { .name = NULL } },
};
